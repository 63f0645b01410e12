"""Publishing a built task as a Hub dataset repository, and the 15 of them as a collection."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from huggingface_hub import CommitInfo, HfApi, get_token

from ..hub.errors import clear_errors
from ..hub.repositories import create_repository, filled_or_gone
from ..hub.requests import patiently
from ..hub.upload import check_regular, check_secrets, commit_files
from . import repository
from .cards import with_namespace
from .eval_file import EVAL_FILE, render_eval_file
from .tasks import USB_TASKS, Task, get_task
from .verify import verify_task

logger = logging.getLogger(__name__)

# The Hub shows 60 characters of a title, and takes 150 of a description.
COLLECTION = "USB: Unified Semi-supervised learning Benchmark"
_DESCRIPTION = (
    "The 15 datasets of the USB benchmark (arXiv 2208.07204) with its own draws of labels, for semi-supervised "
    "classification."
)


class Published(NamedTuple):
    """What `publish_task` has done.

    Args:
        url: address of the dataset repository.
        changed: whether there was anything new to upload.
        collection: address of the collection that the dataset is in; None for none.
    """

    url: str
    changed: bool
    collection: str | None


def publish_task(
    task: Task | str,
    namespace: str,
    folder: str | Path | None = None,
    *,
    private: bool = False,
    collection: bool = True,
) -> Published:
    """Verify a built task and upload it in one commit, replacing an earlier version of its files.

    A build whose source was not all of USB's is published with a warning; its card says so. What is published already
    is not uploaded again, and without a change there is no new commit. The token is that of `hf auth login`, or of the
    environment variable HF_TOKEN.

    Args:
        task: the task, or its name.
        namespace: account or organization on the Hub; the repository is `usb-<name>` there.
        folder: that was built; `usb-<name>` by default.
        private: make a private repository.
        collection: put one of USB's 15 datasets into the namespace's collection `COLLECTION`, which is created if it
            does not exist, and is private if the first dataset published was. If that fails, the dataset is still
            published, with a warning.

    Raises:
        ValueError: if the build is damaged, the folder holds another task, or data that may not be redistributed would
            be public.
        OSError: in one line, if the Hub refuses or cannot be reached; nothing is published then.

    Example:
        After `hf-ssl benchmark build cifar100 --source cifar-100-python.tar.gz` and `hf auth login`::

            publish_task("cifar100", "my-account", private=True).url
    """
    task = get_task(task) if isinstance(task, str) else task
    folder = Path(folder or repository.repository_name(task))
    _check_folder(task, folder)
    if task.redistribution_forbidden and not private:
        raise ValueError(
            f"the terms of {task.title} do not allow redistributing its data; publish it with --private only"
        )
    _verify(task, folder)
    if task.license in ("unknown", "other") and not private:
        reason = task.license_note or "Its license is unknown."
        logger.warning("%s: %s Make sure that you may publish it.", task.title, reason)

    api, repo_id = HfApi(), f"{namespace}/{repository.repository_name(task)}"
    files = _files(folder, namespace)
    made = create_repository(api, repo_id, "dataset", private or None)
    with filled_or_gone(api, made, "dataset"):
        with clear_errors(repo_id):
            before = patiently(lambda: api.dataset_info(repo_id))
        if private and not before.private:
            raise ValueError(f"{made.url} exists and is public; make it private first")
        after = _commit(repo_id, task, {**files, EVAL_FILE: _eval_file(folder, task)})
    place = None
    if collection and task.name in USB_TASKS:
        try:
            place = _collect(api, task, namespace, bool(before.private))
        except OSError as error:
            logger.warning("%s", error)
    return Published(str(made.url), after.oid != before.sha, place)


def _check_folder(task: Task, folder: Path) -> None:
    if not folder.is_dir():
        raise FileNotFoundError(
            f"there is no folder {folder}; build it first: hf-ssl benchmark build {task.name} --source DIR"
        )
    built = repository.read_record(folder)["task"]
    if built != task.name:
        raise ValueError(f"{folder} holds the task {built}, not {task.name}")


def _verify(task: Task, folder: Path) -> None:
    """Raise if the build is wrong, and warn if its source was not what USB has."""
    failed = [check for check in verify_task(folder, task) if not check.passed]
    wrong = [check for check in failed if not check.of_source]
    if wrong:
        found = "; ".join(f"{check.name}: {check.found}" for check in wrong[:3])
        raise ValueError(
            f"{folder} is not published: these checks failed: {found}; see `hf-ssl benchmark verify {folder}`"
        )
    for check in failed:
        logger.warning("%s: %s: %s", task.title, check.name, check.found)


def _files(folder: Path, namespace: str) -> dict[str, Path | bytes]:
    """What is uploaded: path in the repository -> local file, or the content.

    Raises:
        ValueError: if a file is a link or device, or the card or the record of the build holds a token or key.
    """
    patterns = [repository.CARD, repository.RECORD, "data/*.parquet", "labels/*.parquet"]
    paths = repository.files_of(folder, patterns)
    files: dict[str, Path | bytes] = {path.relative_to(folder).as_posix(): path for path in paths}
    for path in paths:
        check_regular(path, path.relative_to(folder).as_posix())
    for name in (repository.CARD, repository.RECORD):
        # The rows of the tables are other people's texts, which may speak of keys.
        check_secrets(folder / name, get_token())
    card = (folder / repository.CARD).read_text(encoding="utf-8")
    return {**files, repository.CARD: with_namespace(card, namespace).encode()}


def _eval_file(folder: Path, task: Task) -> bytes:
    return render_eval_file(task, repository.read_record(folder)).encode()


def _commit(repo_id: str, task: Task, files: Mapping[str, Path | bytes]) -> CommitInfo:
    """All files in one commit; without `EVAL_FILE`, and with a warning, if the Hub does not take that."""
    message = f"{task.title}, built by hf-ssl"

    def is_stale(name: str) -> bool:
        return name.startswith(("data/", "labels/"))

    try:
        return commit_files(repo_id, "dataset", files, message, is_stale=is_stale)
    except OSError as error:
        # It knows evaluation frameworks by a list, and checks the file by it.
        if EVAL_FILE not in str(error) and "evaluation_framework" not in str(error):
            raise
        logger.warning("%s is published without %s: %s", repo_id, EVAL_FILE, error)
    others = {name: content for name, content in files.items() if name != EVAL_FILE}
    return commit_files(repo_id, "dataset", others, message, is_stale=is_stale)


def _collect(api: HfApi, task: Task, namespace: str, private: bool) -> str:
    """Put the published task into the namespace's collection, once; returns the collection's address."""
    repo_id = f"{namespace}/{repository.repository_name(task)}"
    subject = f"{repo_id} is published, but not in the collection {COLLECTION!r}"
    with clear_errors(subject, outcome="publish again to add it"):
        # Looked for first: titles need not be unique, and a collection may have been made by hand.
        found = next((one for one in api.list_collections(owner=namespace) if one.title == COLLECTION), None)
        if found is None:
            found = api.create_collection(
                COLLECTION, namespace=namespace, description=_DESCRIPTION, private=private, exists_ok=True
            )
        settings = " or ".join(f"{number:,}" for number in task.label_settings)
        note = f"{task.modality}, {len(task.class_names)} classes, {settings} labels"
        api.add_collection_item(found.slug, repo_id, "dataset", note=note, exists_ok=True)
    if found.private and not private:
        logger.warning(
            "%s is public and its collection is private; to show it: hf collections update %s --no-private",
            repo_id,
            found.slug,
        )
    return found.url
