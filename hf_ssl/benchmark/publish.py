"""Publishing a built task as a Hub dataset repository."""

import logging
from pathlib import Path

from . import repository
from .tasks import Task, get_task
from .verify import verify_task

logger = logging.getLogger(__name__)


def publish_task(task: Task | str, namespace: str, folder: str | Path | None = None, *, private: bool = False) -> str:
    """Verify a built task and upload it in one commit, replacing an earlier version of its files.

    A build whose source was not all of USB's is published with a warning; its card says so. The token is the one of
    `hf auth login`, or of the environment variable HF_TOKEN.

    Args:
        task: the task, or its name.
        namespace: account or organisation on the Hub; the repository is `usb-<name>` there.
        folder: that was built; `usb-<name>` by default.
        private: make a private repository.

    Returns:
        The address of the repository.

    Raises:
        ValueError: if the build is damaged, the folder holds another task, or data that may not be passed on would be public.
        OSError: if the Hub refuses, or cannot be reached.
    """
    from huggingface_hub import HfApi

    task = get_task(task) if isinstance(task, str) else task
    folder = Path(folder or repository.repository_name(task))
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}; build it first: hf-ssl benchmark build {task.name} --source DIR")
    built = repository.read_record(folder)["task"]
    if built != task.name:
        raise ValueError(f"{folder} holds the task {built}, not {task.name}")
    if task.redistribution_forbidden and not private:
        raise ValueError(f"the terms of {task.title} forbid to pass its data on; publish it with --private only")
    failed = [check for check in verify_task(folder, task) if not check.passed]
    wrong = [check for check in failed if not check.of_source]
    if wrong:
        found = "; ".join(f"{check.name}: {check.found}" for check in wrong[:3])
        raise ValueError(f"{folder} is not published: these checks failed: {found}; see `hf-ssl benchmark verify {folder}`")
    for check in failed:
        logger.warning("%s: %s: %s", task.title, check.name, check.found)
    if task.licence in ("unknown", "other") and not private:
        logger.warning("%s: %s Make sure that you may publish it.", task.title, task.licence_note or "Its licence is unknown.")

    api, repo_id = HfApi(), f"{namespace}/{repository.repository_name(task)}"
    url = api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True)
    if private and not api.repo_info(repo_id, repo_type="dataset").private:
        raise ValueError(f"{url} exists and is public; make it private first")
    api.upload_folder(
        repo_id=repo_id,
        repo_type="dataset",
        folder_path=folder,
        commit_message=f"{task.title}, built by hf-ssl",
        allow_patterns=[repository.CARD, repository.RECORD, "data/*.parquet", "labels/*.parquet"],
        delete_patterns=["data/*", "labels/*"],
    )
    return str(url)
