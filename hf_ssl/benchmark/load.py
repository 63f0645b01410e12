"""`load_task`: a task as `datasets` splits, from the Hub, from a folder that was built, or from its raw data."""

import hashlib
import os
from pathlib import Path

import datasets
from filelock import FileLock

from ..data.table_limits import check_table
from . import repository
from .build import build_task
from .long_tail import LongTailed
from .tasks import TASKS, Task, get_task

# Where published tasks are looked for; the environment variable HF_SSL_NAMESPACE names another account or
# organization.
NAMESPACE = "hf-ssl"


def load_task(
    name: str,
    num_labeled: int,
    seed: int = 0,
    source: str | Path | None = None,
    *,
    deduplicated: bool = False,
    labeled_imbalance: float = 1.0,
    unlabeled_imbalance: float | None = None,
    pool_shape: str = "consistent",
    num_unlabeled: int | None = None,
) -> datasets.DatasetDict:
    """One setting of a task: the splits labeled, unlabeled, test, and validation if the task has one.

    With an imbalance or a `pool_shape` labeled set and pool are long-tailed, for any numbers and seed: they are drawn
    from all training examples (see `hf_ssl.benchmark.splits.draw_labels`), as USB draws them, and the pool does not
    contain the labeled examples. USB's own long-tailed settings (`Task.long_tails`) are configurations of the built
    task, too.

    Args:
        name: of the task, such as "cifar100".
        num_labeled: number of labeled examples, one of the task's settings; if long-tailed, any number, of the most
            frequent class.
        seed: of the draw.
        source: None for the Hub (account or organization `HF_SSL_NAMESPACE`, "hf-ssl" by default); a namespace on the
            Hub, or the id of a published repository; a folder that `hf-ssl benchmark build` made; or raw data: a
            folder, an archive, or the id of a copy on the Hub, which is built into the cache of `datasets` once.
        deduplicated: a pool without the examples of the test set, if the task offers one.
        labeled_imbalance: gamma, the ratio of the most to the least frequent class of the labeled set.
        unlabeled_imbalance: gamma of the pool, negative for reversed classes; None for that of the labeled set.
        pool_shape: "consistent", "uniform", "reversed", "middle" or "head-tail".
        num_unlabeled: pool examples of the most frequent class; None for as many as there are.

    Raises:
        ValueError: for an unknown task, setting or seed (the message lists the known ones), raw data that cannot be
            built, or a long tail for which a class has too few examples.
        FileNotFoundError: if the source does not exist.

    Example:
        With a folder of AG News' raw files, `train.csv` and `test.csv`::

            data = load_task("ag_news", num_labeled=40, seed=0, source="ag_news_csv")
            data["labeled"], data["unlabeled"], data["validation"], data["test"]
            tail = load_task("ag_news", 40, source="ag_news_csv", labeled_imbalance=20, pool_shape="reversed")

        The settings of each task are in the table:

        >>> from hf_ssl.benchmark import TASKS
        >>> TASKS["ag_news"].label_settings
        (40, 200)
    """
    task = get_task(name)
    shape = LongTailed(labeled_imbalance, unlabeled_imbalance, pool_shape, num_unlabeled)
    if shape.is_balanced:
        _check_setting(task, num_labeled, seed, deduplicated)
        configuration = repository.config_name(num_labeled, seed, deduplicated)
        location = find_repository(task, source)
        if isinstance(location, Path):
            _check_built(task, location, repository.config_name(num_labeled, seed))
        return _load(task, location, configuration)
    shape.check(task, deduplicated)
    location = find_repository(task, source)
    if isinstance(location, Path):
        _check_built(task, location)
    return shape.draw(task, _load(task, location, "full"), num_labeled, seed)


def _load(task: Task, location: Path | str, configuration: str) -> datasets.DatasetDict:
    """A configuration of a built folder or of a repository on the Hub."""
    if isinstance(location, Path):
        return _load_built(location, configuration)
    try:
        return datasets.load_dataset(location, configuration)
    except OSError as error:
        raise FileNotFoundError(
            f"{location} cannot be loaded from the Hub ({' '.join(str(error).split())}); give as source a namespace "
            f"that has {repository.repository_name(task)}, a folder made by `hf-ssl benchmark build {task.name}`, or "
            "the raw data"
        ) from error


def _load_built(folder: Path, configuration: str) -> datasets.DatasetDict:
    for path in folder.rglob("*.parquet"):
        check_table(path)
    try:
        return datasets.load_dataset(str(folder), configuration)
    except (ImportError, OSError):
        raise
    except Exception as error:  # pyarrow and `datasets` raise errors of many kinds for damaged files
        reason = " ".join(str(error.__cause__ or error).split()) or type(error).__name__
        raise ValueError(f"{folder} is damaged ({reason}); build the task again") from error


def _check_setting(task: Task, num_labeled: int, seed: int, deduplicated: bool) -> None:
    if num_labeled not in task.label_settings:
        known = ", ".join(map(str, task.label_settings))
        raise ValueError(f"{task.name} has no setting with {num_labeled} labels; the known ones are {known}")
    if seed not in task.seeds:
        known = ", ".join(map(str, task.seeds))
        raise ValueError(f"{task.name} has no draw with seed {seed}; the known ones are {known}")
    if deduplicated and not task.deduplicate_pool:
        offering = ", ".join(other.name for other in TASKS.values() if other.deduplicate_pool)
        raise ValueError(f"{task.name} has no deduplicated pool; {offering} has one")


def find_repository(task: Task, source: str | Path | None) -> Path | str:
    """The built folder (made from raw data if needed) or the id of the Hub repository that a source refers to."""
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


def _check_built(task: Task, folder: Path, configuration: str | None = None) -> None:
    record = repository.read_record(folder)
    if record["task"] != task.name:
        raise ValueError(f"{folder} holds the task {record['task']}, not {task.name}")
    if configuration is not None and configuration not in record["draws"]:
        raise ValueError(f"{folder} was built without {configuration}; it has {', '.join(record['draws'])}")


def _build_into_cache(task: Task, source: Path | str, fingerprint: str) -> Path:
    digest = hashlib.sha256(f"{task!r}{fingerprint}".encode()).hexdigest()[:16]
    folder = Path(datasets.config.HF_DATASETS_CACHE) / "hf_ssl" / f"{repository.repository_name(task)}-{digest}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Every process of a distributed run gets here: the first one builds, the others wait.
    with FileLock(f"{folder}.lock"):
        if not (folder / repository.RECORD).is_file():
            build_task(task, source, folder)
    return folder


def _fingerprint(path: Path) -> str:
    """A text that changes with the files of the raw data, as far as names, sizes and modification times tell."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    stats = [(str(file.relative_to(path)), file.stat()) for file in files]
    return str([path.resolve(), *((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)])
