"""What `hf-ssl pick` writes: a table or folder to be filled in, or what a labeling tool imports.

    picks.csv, picks.jsonl   the texts, or the names of the files as seen from the table, and an empty `label`
    picks/                   copies of the files, to be moved into one folder per class
    picks.json               tasks of Label Studio, or records of Argilla (--format)

Pictures and recordings that are inside a dataset and not files of their own become files beside the table.
"""

import csv
import io
import json
import os
import shlex
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from ..data.rows import fetch_rows
from ..data.sources import count
from ..files import atomic_write, sync
from ..modality import MODALITIES
from ..report.spreadsheets import harmless
from .labeling import label_command
from .output import check_file, seen_from

if TYPE_CHECKING:
    from .pick_data import Given

Writer = Callable[["Given", np.ndarray, Path], str]
# Sound formats of libsndfile that a file's name does not call by their own name.
_ENDINGS = {"WAVEX": "wav", "MPEG": "mp3", "JPEG": "jpg", "OGG": "ogg"}


def check_output(output: Path, tool: str | None) -> Writer:
    """What writes the file or folder that was asked for.

    Raises:
        ValueError, OSError: in one line, if it cannot be written or is there already.
    """
    if tool is not None:
        if output.suffix.lower() != ".json":
            raise ValueError(f"--output must be a .json file with --format {tool}, got {output}; give another name")
        _check_new(output)
        return _write_label_studio if tool == "label-studio" else _write_argilla
    if output.suffix.lower() in (".csv", ".jsonl"):
        _check_new(output)
        return _write_table
    if output.suffix:
        raise ValueError(f"--output must end in .csv or .jsonl, or be a folder without a suffix, got {output}")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise FileExistsError(f"--output must be a new or empty folder, got {output}; give another one")
    parent = output.absolute().parent
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise PermissionError(f"--output must be in a folder that can be written to, got {output}; give another one")
    return _write_folder


def check_fits(modality: str, output: Path, tool: str | None) -> None:
    """Raise a ValueError, before anything is encoded, if this kind of output cannot hold this kind of example."""
    if tool == "argilla" and modality == "audio":
        raise ValueError("--format argilla must be of texts or images, got recordings; leave it out")
    if not output.suffix and not MODALITIES[modality].needs_files:
        raise ValueError(
            f"--output must end in .csv or .jsonl for texts, got the folder {output}; give the name of a table"
        )


def _check_new(output: Path) -> None:
    if output.exists():
        # Labels of an earlier round would be lost, so that no option replaces it.
        raise FileExistsError(f"--output must not exist yet, got {output}; give another file")
    check_file("--output", output, output.suffix.lower(), [], overwrite=False)


# ---- For people ----


def _write_table(given: "Given", places: np.ndarray, output: Path) -> str:
    columns = given.inputs.data.input_columns
    rows = _cells(given, places, output)
    header = [*columns, given.order_column, "label"]
    table = [[*row, number, ""] for number, row in enumerate(rows, start=1)]
    with atomic_write(output) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        if output.suffix.lower() == ".csv":
            csv.writer(file, lineterminator="\n").writerows([header, *table])
        else:
            records = (dict(zip(header, row, strict=True)) for row in table)
            file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    said = [
        f"Written to {output}. Next:",
        f"  {label_command(str(output), given.names)}",
        *_then(given, output, header),
    ]
    formulas = sum(harmless(cell) != cell for row in rows for cell in row)
    if formulas and output.suffix.lower() == ".csv":
        said.append(
            f"{count(formulas, 'text')} would be a formula in a spreadsheet program (=, +, - or @ comes first); fill "
            "in the labels with `hf-ssl label`, or pick into a .jsonl file."
        )
    return "\n".join(said)


def _then(given: "Given", output: Path, header: list[str]) -> list[str]:
    """What comes after labeling: training, in later rounds with all labels that there are."""
    if given.labeled_source is None:
        return ["and then", _train(given, output)]
    earlier = Path(given.labeled_source)
    if _fits_behind(earlier, header, output):
        # The first line of a CSV file names its columns, which must not be added once more.
        command = f"tail -n +2 {shlex.quote(str(output))} >> {shlex.quote(str(earlier))}"
        return [f"and then add its rows to {earlier}, and train again:", f"  {command}"]
    return [f"and then add its rows to {given.labeled_source}, and train again."]


def _fits_behind(earlier: Path, header: list[str], output: Path) -> bool:
    """Whether rows of `output` can be added to an earlier file as they are written."""
    if output.suffix.lower() != ".csv" or earlier.suffix.lower() != ".csv" or not earlier.is_file():
        return False
    content = earlier.read_bytes()
    line = (",".join(header) + "\n").encode()
    return content.startswith(line) and content.endswith(b"\n") and earlier.resolve().parent == output.resolve().parent


def _train(given: "Given", output: Path) -> str:
    words = ["--model", given.model, "--labeled", str(output), "--unlabeled", given.source]
    return f"  hf-ssl train {shlex.join(words)}"


def _write_folder(given: "Given", places: np.ndarray, output: Path) -> str:
    digits = len(str(len(places)))
    output.mkdir(exist_ok=True)
    for number, cell in enumerate(_values(given, places), start=1):
        source = _path_of(cell)
        name = f"{number:0{digits}}" + ("" if source is None else f" {source.name}")
        if source is None:
            _write_file(cell, given.modality, output / name)
        else:
            shutil.copyfile(source, output / name)
    sync(output)
    if given.labeled_source is not None and Path(given.labeled_source).is_dir():
        way = f"Move the files to the folders of the classes in {given.labeled_source}, and train again."
        return f"Copied to {output}. {way}"
    way = "Make a folder for each class in it, and move the files there; then"
    return f"Copied to {output}. {way}\n{_train(given, output)}"


# ---- For labeling tools ----


def _write_label_studio(given: "Given", places: np.ndarray, output: Path) -> str:
    """Tasks as Label Studio imports them: a list of {"data": {name: value}}, with local files served by it."""
    columns = given.inputs.data.input_columns
    if not MODALITIES[given.modality].needs_files:
        rows = enumerate(_cells(given, places, output), start=1)
        tasks = [
            {"data": {**dict(zip(columns, row, strict=True)), given.order_column: number}} for number, row in rows
        ]
        shown = "".join(f'<Text name="{name}" value="${name}"/>' for name in columns)
        return _written(output, tasks, f"  {_config(columns[0], shown)}")
    files = [str(path.absolute()) for path in _files(given, places, output)]
    root = os.path.dirname(os.path.commonpath([os.path.dirname(file) for file in files]))
    kind = given.modality
    served = ["/data/local-files/?d=" + quote(Path(os.path.relpath(file, root)).as_posix()) for file in files]
    pairs = enumerate(zip(served, files, strict=True), start=1)
    tasks = [{"data": {kind: address, "file": file, given.order_column: number}} for number, (address, file) in pairs]
    tag = "Image" if kind == "image" else "Audio"
    start = (
        "  LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true "
        f"LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT={shlex.quote(root)} label-studio"
    )
    shown = f'<{tag} name="{kind}" value="${kind}"/>'
    way = f"{_config(kind, shown)}\nStart it so that it may show the files:\n{start}"
    return _written(output, tasks, f"  {way}\nIts CSV export: hf-ssl train --labeled EXPORT.csv --input-column file")


def _config(name: str, shown: str) -> str:
    choices = '<Choice value="first class"/><Choice value="second class"/>'
    return f'<View>{shown}<Choices name="label" toName="{name}">{choices}</Choices></View>'


def _written(output: Path, content: Any, how: str) -> str:
    with atomic_write(output) as temporary:
        temporary.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return f"Written to {output}, to be imported into a project with this labeling interface:\n{how}"


def _write_argilla(given: "Given", places: np.ndarray, output: Path) -> str:
    """Records as `argilla.Dataset.records.from_json` reads them: a list of {"id", "fields"}."""
    columns = given.inputs.data.input_columns
    rows: list[list[str]] = _cells(given, places, output)
    if given.modality == "image":
        rows = [[str(path.absolute())] for path in _files(given, places, output)]
    records = [
        {"id": str(place), "fields": dict(zip(columns, row, strict=True))}
        for place, row in zip(places.tolist(), rows, strict=True)
    ]
    kind = "ImageField" if given.modality == "image" else "TextField"
    fields = ", ".join(f"rg.{kind}(name={name!r})" for name in columns)
    with atomic_write(output) as temporary:
        temporary.write_text(json.dumps(records, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return (
        f"Written to {output}, to be read by dataset.records.from_json({str(output)!r}) if the dataset has these "
        f"settings:\n  rg.Settings(fields=[{fields}], questions=[rg.LabelQuestion(name='label', labels=[...])])"
    )


# ---- The examples ----


def _values(given: "Given", places: np.ndarray) -> list[Any]:
    (column,) = given.inputs.data.input_columns
    return [row[column] for row in fetch_rows(given.inputs.rows, places.tolist())]


def _cells(given: "Given", places: np.ndarray, output: Path) -> list[list[str]]:
    """What stands in the table: texts, or names of files as seen from its folder."""
    columns = given.inputs.data.input_columns
    if not MODALITIES[given.modality].needs_files:
        rows = fetch_rows(given.inputs.rows, places.tolist())
        return [[str(row[name]) for name in columns] for row in rows]
    folder = output.absolute().parent
    return [[seen_from(folder, path)] for path in _files(given, places, output)]


def _files(given: "Given", places: np.ndarray, output: Path) -> list[Path]:
    """The files of the picked examples; those that are inside the dataset are written to `OUTPUT_files`."""
    folder = output.with_name(output.stem + "_files")
    found = []
    for place, cell in zip(places.tolist(), _values(given, places), strict=True):
        path = _path_of(cell)
        if path is None:
            folder.mkdir(exist_ok=True)
            path = _write_file(cell, given.modality, folder / str(place))
        found.append(path)
    return found


def _path_of(cell: Any) -> Path | None:
    """The file of an example; None if it is not one of its own."""
    path = cell.get("path") if isinstance(cell, Mapping) and cell.get("bytes") is None else cell
    return Path(path).absolute() if isinstance(path, str) and os.path.isfile(path) else None


def _write_file(cell: Any, modality: str, stem: Path) -> Path:
    """A file of its own for what is inside a dataset: its bytes as they are, or an array as PNG or WAV."""
    content = cell.get("bytes") if isinstance(cell, Mapping) else None
    ending = None if content is None else _ending(content, modality)
    path = stem.with_name(f"{stem.name}.{ending or ('png' if modality == 'image' else 'wav')}")
    with atomic_write(path) as temporary:
        if ending is not None and content is not None:
            temporary.write_bytes(content)
        elif modality == "image":
            from ..views.image_decoding import decode_image

            decode_image(cell).save(temporary)
        else:
            import soundfile

            soundfile.write(temporary, np.asarray(cell["array"]).T, int(cell["sampling_rate"]))
    return path


def _ending(content: bytes, modality: str) -> str | None:
    """The usual ending of a file's name by what is in it; None if it is not known."""
    if modality == "image":
        from PIL import Image

        with Image.open(io.BytesIO(content)) as picture:
            found = str(picture.format)
    else:
        import soundfile

        found = soundfile.info(io.BytesIO(content)).format
    ending = _ENDINGS.get(found, found.lower())
    return ending if f".{ending}" in MODALITIES[modality].suffixes else None
