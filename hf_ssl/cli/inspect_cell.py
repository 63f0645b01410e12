"""What is known of a cell of a grid: its file, and the data that its task and draw say."""

from pathlib import Path

from ..benchmark.grid.cell_file import read, without_places
from ..benchmark.grid.cells import Cell
from ..benchmark.grid.data import cell_data
from ..benchmark.grid.engines.base import Work
from ..data.columns import inspect_data
from ..report.inspection.parts import sampled_parts
from ..report.inspection.subject import Subject
from .inspect_facts import summary_facts


def cell_subject(path: Path, source: str | None, most: int) -> Subject:
    """What is known of a cell.

    Args:
        path: of its file.
        source: where its task is; the Hub if None, unless it comes with a package.
        most: examples of each part.

    Raises:
        ValueError, OSError: in one line, if the file is not that of a finished cell.
    """
    content = read(path)
    cell = Cell.from_record(content["cell"], content["settings"])
    subject = Subject(
        title=cell.title,
        results={"runs": content["runs"], "settings": _flat(content["settings"]), "versions": content["versions"]},
        histories={cell.label: content["curves"]},
        notes=["a grid keeps no models, so there are no predictions of single examples"],
    )
    work = Work(results=path.parent, sources={} if source is None else {"": source})
    try:
        data = cell_data(cell, work)
    except (ValueError, OSError) as error:
        subject.notes.append(f"the data cannot be loaded ({without_places(str(error))}); --source says where they are")
    else:
        given = {"labeled": data.labeled, "pool": data.unlabeled, "test": data.test}
        summary = inspect_data(data.labeled)
        subject.names, subject.modality, subject.columns = summary.label_names, summary.modality, summary.input_columns
        subject.parts = sampled_parts(given, summary, most)
        if data.draw != content["cell"].get("draw"):
            subject.notes.append("the labels that are drawn now are not those of the cell: its task has changed")
    summary_facts(subject, cell.label, cell.backbone)
    return subject


def _flat(settings: dict[str, dict[str, object]]) -> dict[str, object]:
    """Settings by topic as one level: "training" without its name.

    Example:
        >>> _flat({"training": {"max_steps": 9}, "task": {"deduplicated": True}})
        {'max_steps': 9, 'task.deduplicated': True}
    """
    return {
        name if topic == "training" else f"{topic}.{name}": value
        for topic, values in settings.items()
        for name, value in values.items()
    }
