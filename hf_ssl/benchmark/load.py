"""`load_task`: a task as `datasets` splits, from the Hub, from a folder that was built, or from its raw data."""

import hashlib
import os
from pathlib import Path

import datasets
from filelock import FileLock

from . import repository
from .build import build_task
from .tasks import Task, get_task

# Where published tasks are looked for; the environment variable HF_SSL_NAMESPACE names another account or organisation.
NAMESPACE = "hf-ssl"


def load_task(
    name: str, num_labeled: int, seed: int = 0, source: str | Path | None = None, *, deduplicated: bool = False
) -> datasets.DatasetDict:
    """One setting of a task: the splits labeled, unlabeled, test, and validation where the task has one.

    Args:
        name: of the task, such as "cifar100".
        num_labeled: one of the task's settings.
        seed: of the draw.
        source: None for the Hub (account or organisation `HF_SSL_NAMESPACE`, "hf-ssl" by default); a namespace on the Hub, or
            the id of a published repository; a folder that `hf-ssl benchmark build` made; or raw data: a folder, an archive,
            or the id of a copy on the Hub, which is built into the cache of `datasets` once.
        deduplicated: a pool without the examples of the test set, where the task offers one.

    Raises:
        ValueError: for an unknown task, setting or seed (the message lists the known ones), or raw data that cannot be built.
        FileNotFoundError: if the source is not there.
    """
    task = get_task(name)
    if num_labeled not in task.label_settings:
        known = ", ".join(str(number) for number in task.label_settings)
        raise ValueError(f"{name} has no setting with {num_labeled} labels; the known ones are {known}")
    if seed not in task.seeds:
        raise ValueError(f"{name} has no draw with seed {seed}; the known ones are {', '.join(map(str, task.seeds))}")
    if deduplicated and not task.deduplicate_pool:
        offering = ", ".join(other.name for other in _tasks() if other.deduplicate_pool)
        raise ValueError(f"{name} has no deduplicated pool; {offering} has one")
    configuration = repository.config_name(num_labeled, seed, deduplicated)
    location = find_repository(task, source)
    if isinstance(location, Path):
        _check_built(task, location, repository.config_name(num_labeled, seed))
        return datasets.load_dataset(str(location), configuration)
    try:
        return datasets.load_dataset(location, configuration)
    except OSError as error:
        raise FileNotFoundError(
            f"{location} cannot be loaded from the Hub ({' '.join(str(error).split())}); give as source a namespace that has "
            f"{repository.repository_name(task)}, a folder made by `hf-ssl benchmark build {name}`, or the raw data"
        ) from error


def find_repository(task: Task, source: str | Path | None) -> Path | str:
    """The built folder, made from raw data if needed, or the id of the Hub repository, that a source stands for."""
    name = repository.repository_name(task)
    if source is None:
        return f"{os.environ.get('HF_SSL_NAMESPACE', NAMESPACE)}/{name}"
    path = Path(source).expanduser()
    if (path / repository.RECORD).is_file():
        return path
    if path.exists():
        return _build_into_cache(task, path, _fingerprint(path))
    parts = str(source).split("/")
    if isinstance(source, Path) or not all(parts) or len(parts) > 2 or str(source).startswith((".", "~")):
        raise FileNotFoundError(f"{source} does not exist")
    if len(parts) == 1:
        return f"{source}/{name}"
    if parts[1] == name:
        return str(source)
    return _build_into_cache(task, str(source), str(source))


def _tasks():
    from .tasks import TASKS

    return TASKS.values()


def _check_built(task: Task, folder: Path, configuration: str) -> None:
    record = repository.read_record(folder)
    if record["task"] != task.name:
        raise ValueError(f"{folder} holds the task {record['task']}, not {task.name}")
    if configuration not in record["draws"]:
        raise ValueError(f"{folder} was built without {configuration}; it has {', '.join(record['draws'])}")


def _build_into_cache(task: Task, source: Path | str, fingerprint: str) -> Path:
    digest = hashlib.sha256(f"{task!r}{fingerprint}".encode()).hexdigest()[:16]
    folder = Path(datasets.config.HF_DATASETS_CACHE) / "hf_ssl" / f"{repository.repository_name(task)}-{digest}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Every process of a distributed training comes here: the first one builds, the others wait.
    with FileLock(f"{folder}.lock"):
        if not (folder / repository.RECORD).is_file():
            build_task(task, source, folder)
    return folder


def _fingerprint(path: Path) -> str:
    """Changes when a file of the raw data does, as far as its name, size and time of change tell."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    stats = [(str(file.relative_to(path)), file.stat()) for file in files]
    return str([path.resolve(), *((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)])
