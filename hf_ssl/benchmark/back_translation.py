"""Back-translation of the training texts of a built task, as USB's strong view of text: `hf-ssl benchmark augment`.

    text -- last 1,024 characters --> German --> English = aug_0
                                  \\-> Russian -> English = aug_1

Words are sampled, at temperature 0.9 (arXiv 1904.12848, appendix). Finished chunks of rows are kept in a hidden folder
beside the repository, so that an interrupted run continues where it was; each chunk has its own random numbers, so
that the result is the same as that of an undisturbed run. The repository is replaced as a whole at the very end.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import atomic_write
from ..modality import MODALITIES
from . import repository
from .tasks import get_task
from .translation import Translator

if TYPE_CHECKING:
    import pyarrow as pa

TRANSLATION_MODELS = (
    "Helsinki-NLP/opus-mt-en-de",
    "Helsinki-NLP/opus-mt-de-en",
    "Helsinki-NLP/opus-mt-en-ru",
    "Helsinki-NLP/opus-mt-ru-en",
)
CHARACTERS = 1024
# Batches in one chunk: sorted by length together, so that little is padded, and recorded together.
_CHUNK_BATCHES = 16


def augment(
    folder: str | Path,
    translation_models: Sequence[str] = TRANSLATION_MODELS,
    *,
    temperature: float = 0.9,
    batch_size: int = 32,
    seed: int = 0,
    device: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Add the columns `aug_0` and `aug_1` to a built text task.

    Training and labeled examples get their two back-translations, the others None. An empty translation is replaced by
    the text that was translated. On the same device and with the same versions the result depends on the arguments
    alone, batch size included.

    Args:
        folder: what `hf-ssl benchmark build` wrote.
        translation_models: four sequence-to-sequence models, by Hub id or local path: from English and back for
            `aug_0`, and for `aug_1`.
        temperature: of the sampling, above 0; lower is closer to the text.
        batch_size: texts that are translated at once.
        seed: of the sampling.
        device: for torch; the accelerator if there is one, else the CPU, by default.
        overwrite: replace augmentations that the task has already.

    Returns:
        The folder.

    Raises:
        ValueError: for arguments out of range, a folder that is not a built text task or is augmented already, and an
            unfinished run with other arguments.
        OSError: if a model cannot be loaded.
        ImportError: if the tokenizer of a model needs sentencepiece and it is not installed.

    Example:
        After `hf-ssl benchmark build ag_news --source ag_news_csv`::

            augment("usb-ag_news", device="cuda")
    """
    folder = Path(folder)
    if len(translation_models) != 2 * len(repository.AUGMENTATIONS):
        raise ValueError(
            "translation_models must name four models (from English and back for aug_0, then for aug_1), got "
            f"{len(translation_models)}"
        )
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    if seed < 0:
        raise ValueError(f"seed must be at least 0, got {seed}")
    workplace = folder.absolute().parent / f".{folder.name}.augment"
    if not folder.exists() and not workplace.exists():
        repository.read_record(folder)  # says what is missing
    with repository.locked(folder):
        _finish_replacing(folder, workplace)
        record = _check_record(folder, overwrite)
        settings = {
            "translation_models": [_public_name(name) for name in translation_models],
            "temperature": temperature,
            "batch_size": batch_size,
            "seed": seed,
        }
        files = repository.files_of(folder, ["data/train-*.parquet"])
        _open_workplace(workplace, {**settings, "files": {path.name: path.stat().st_size for path in files}})
        for number, column in enumerate(repository.AUGMENTATIONS):
            pair = translation_models[2 * number : 2 * number + 2]
            _translate_column(files, workplace, column, pair, temperature, batch_size, seed, device)
        _write_repository(folder, workplace, record | {"augmented": True, "augmentation": settings})
        _replace(folder, workplace)
    return folder


def _check_record(folder: Path, overwrite: bool) -> dict[str, Any]:
    record = repository.read_record(folder)
    task = get_task(record["task"])
    if task.modality != "text":
        model = MODALITIES[task.modality].model.removesuffix(" model")
        raise ValueError(f"{task.name} is {model} task; back-translation is for text")
    if record.get("augmented") and not overwrite:
        raise ValueError(f"{folder} has augmentations already; --overwrite replaces them")
    return record


def _public_name(model: str) -> str:
    """The name of a model without the folders above it: it is published with the task."""
    return Path(model).name if Path(model).exists() else model


def _open_workplace(workplace: Path, settings: dict[str, Any]) -> None:
    """Make the folder of finished chunks, or continue with that of an interrupted run with the same settings."""
    path = workplace / "settings.json"
    if path.is_file():
        found = json.loads(path.read_text(encoding="utf-8"))
        if found != settings:
            changed = ", ".join(key for key in settings if found.get(key) != settings[key])
            raise ValueError(
                f"{workplace} holds an unfinished run with another {changed}; finish that one or delete the folder"
            )
        return
    shutil.rmtree(workplace, ignore_errors=True)
    workplace.mkdir()
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(settings), encoding="utf-8")


def _translate_column(
    files: list[Path],
    workplace: Path,
    column: str,
    models: Sequence[str],
    temperature: float,
    batch_size: int,
    seed: int,
    device: str | None,
) -> None:
    """Write the translations of each training file, one JSON list per chunk and line; finished chunks are kept."""
    import pyarrow.parquet as pq
    from datasets.utils import tqdm

    translators: list[Translator] = []
    for path in files:
        done = _finished(_progress_path(workplace, path, column))
        with open(_progress_path(workplace, path, column), "a", encoding="utf-8") as progress:
            size = batch_size * _CHUNK_BATCHES
            total = -(-pq.read_metadata(path).num_rows // size)
            for number, texts in enumerate(tqdm(_chunks(path, size), f"{column}, {path.name}", total, unit=" chunks")):
                if number < done:
                    continue
                if not translators:
                    translators = [Translator(name, temperature, device) for name in models]
                translated = texts
                for stage, translator in enumerate(translators):
                    place = f"{seed}|{column}|{path.name}|{number}|{stage}"
                    translated = translator.translate(translated, batch_size, _seed(place))
                results = [new.strip() or text for new, text in zip(translated, texts, strict=True)]
                progress.write(json.dumps(results) + "\n")
                progress.flush()


def _progress_path(workplace: Path, file: Path, column: str) -> Path:
    return workplace / f"{file.stem}.{column}.jsonl"


def _seed(place: str) -> int:
    return int.from_bytes(hashlib.sha256(place.encode()).digest()[:8], "little") >> 1


def _finished(path: Path) -> int:
    """The number of whole lines in a progress file; a line that an interruption left unfinished is cut off."""
    if not path.is_file():
        return 0
    with open(path, "r+b") as file:
        count = end = 0
        for line in file:
            if line.endswith(b"\n"):
                count, end = count + 1, end + len(line)
        file.truncate(end)
    return count


def _chunks(path: Path, size: int) -> Iterator[list[str]]:
    """The ends of the texts of a Parquet file, `size` at a time."""
    chunk: list[str] = []
    for row in repository.read_rows([path], columns=["text"]):
        chunk.append(row["text"][-CHARACTERS:])
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _write_repository(folder: Path, workplace: Path, record: dict[str, Any]) -> None:
    """Make a copy of the repository with the two columns, in the workplace."""
    from .cards import render_card  # imports huggingface_hub

    task = get_task(record["task"])
    target = workplace / "repository"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns("*.parquet"))
    schema = repository.features(task, augmented=True).arrow_schema
    labeled = sorted(folder.glob("labels/*.parquet"))
    drawn = {row["text"] for row in repository.read_rows(labeled, columns=["text"])}
    augmented_of: dict[str, tuple[str, ...]] = {}
    for path in sorted(folder.glob("data/*.parquet")):
        pairs = _augmented(path, workplace) if path.name.startswith("train-") else None
        for texts, chosen in _write_file(path, target / path.relative_to(folder), schema, pairs):
            augmented_of.update((text, pair) for text, pair in zip(texts, chosen, strict=True) if text in drawn)
    for path in labeled:
        pairs = (augmented_of[row["text"]] for row in repository.read_rows([path], columns=["text"]))
        for _ in _write_file(path, target / path.relative_to(folder), schema, pairs):
            pass
    repository.write_record(target, record)
    (target / repository.CARD).write_text(render_card(task, record), encoding="utf-8")


def _augmented(path: Path, workplace: Path) -> Iterator[tuple[str, ...]]:
    """Both translations of each row of a training file, in order; one chunk of each is in memory."""
    with ExitStack() as stack:
        paths = (_progress_path(workplace, path, column) for column in repository.AUGMENTATIONS)
        files = [stack.enter_context(open(path, encoding="utf-8")) for path in paths]
        for lines in zip(*files, strict=True):
            yield from zip(*map(json.loads, lines), strict=True)


def _write_file(
    path: Path, target: Path, schema: "pa.Schema", pairs: Iterator[tuple[str, ...]] | None
) -> Iterator[tuple[list[str], list[tuple[str, ...]]]]:
    """Copy a Parquet file with two more columns, from `pairs` or None; yields texts and pairs of each row group."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file, pq.ParquetWriter(target, schema) as writer:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            chosen = [next(pairs) for _ in range(len(table))] if pairs else []
            columns = zip(*chosen, strict=True) if pairs else [[None] * len(table)] * len(repository.AUGMENTATIONS)
            for name, values in zip(repository.AUGMENTATIONS, columns, strict=True):
                if name in table.column_names:
                    table = table.drop_columns(name)
                table = table.append_column(name, pa.array(values, pa.string()))
            writer.write_table(table.select(schema.names).cast(schema))
            if pairs:
                yield table["text"].to_pylist(), chosen
    if pairs and next(pairs, None) is not None:
        raise ValueError(f"{path} has changed since it was translated; delete the folder of the unfinished run")


def _replace(folder: Path, workplace: Path) -> None:
    """Replace the old repository by the new one."""
    folder.rename(workplace / "replaced")
    (workplace / "repository").rename(folder)
    shutil.rmtree(workplace)


def _finish_replacing(folder: Path, workplace: Path) -> None:
    """Undo a replacement that was interrupted between its two renames, or clean up after one that got further."""
    if (workplace / "replaced").is_dir():
        if not folder.exists():
            (workplace / "replaced").rename(folder)
        else:
            shutil.rmtree(workplace)
