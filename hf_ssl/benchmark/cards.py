"""The dataset card of a task: the values for `dataset_card_template.md`, and the same facts as plain text.

`python -m hf_ssl.benchmark.cards` writes the cards that `hub_cards/` holds for people to read.
"""

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import DatasetCard, DatasetCardData

from ..report.markdown import cell, code, fence, plain
from ..report.tables import markdown_table, table
from . import repository
from .baselines import LONG_TAIL_NOTES, LONG_TAIL_SOURCE, SOURCE, published_errors, published_long_tails
from .tails import Tail, mark_columns, reading, tail_name, tails_of
from .tasks import TASKS, USB_CITATION, USB_TASKS, LongTail, Task

_TAIL_HEADERS = "columns: labeled and pool examples of the largest class, gamma of both; a negative one is reversed"
_TEMPLATE = Path(__file__).with_name("dataset_card_template.md")
# Upper limits of the Hub's size categories.
_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
)


def render_card(task: Task, record: Mapping[str, Any] | None = None) -> str:
    """The card as Markdown with metadata, ending in a line break.

    Args:
        task: the row of the table.
        record: what a build wrote down: its counts and draws are added, and only what was built is declared. None
            renders the card of a complete build.

    Example:
        >>> print(render_card(TASKS["cifar100"]).split("---")[2].strip().splitlines()[0])
        # CIFAR-100 for semi-supervised learning
    """
    sizes, draws, tails = dict(task.sizes), repository.draws_of(task), tails_of(task, record)
    if record is not None:
        sizes = {split: found["rows"] for split, found in record["splits"].items()}
        draws = repository.draws_in(record)
    header, rows = _baseline_table(task)
    card = DatasetCard.from_template(
        _metadata(task, repository.configurations(task, tuple(sizes), draws, tails), tails),
        template_path=str(_TEMPLATE),
        task=task,
        record=record,
        repository=repository.repository_name(task),
        record_file=repository.RECORD,
        draws=draws,
        tails=[tail_name(tail) for tail in tails],
        tail_columns=bool(mark_columns(tails)),
        tail_source=f"Long tails ({_TAIL_HEADERS}). {LONG_TAIL_SOURCE}",
        tail_table=_tail_table(task, markdown=True),
        sizes=sizes,
        incomplete=any(sizes.get(split) != rows for split, rows in task.sizes.items()),
        baselines_note=_baselines_note(task),
        baselines_header=header,
        baselines=rows,
        usb_citation=USB_CITATION,
        citations_fence=fence(task.citation),
        cell=cell,
        code=code,
        plain=plain,
    )
    return f"{card}\n"


def with_namespace(card: str, namespace: str) -> str:
    """The card's text with the account that publishes it in its lines of code.

    Example:
        >>> with_namespace('load_dataset("NAMESPACE/usb-svhn")  # or a folder that was built', "someone")
        'load_dataset("someone/usb-svhn")'
    """
    return (
        card.replace("  # or a folder that was built", "")
        .replace('"NAMESPACE/', f'"{namespace}/')
        .replace('"NAMESPACE"', f'"{namespace}"')
    )


def _metadata(task: Task, configurations: Mapping[str, Mapping[str, list[str]]], tails: list[Tail]) -> DatasetCardData:
    total = sum(task.sizes.values())
    return DatasetCardData(
        pretty_name=f"{task.title} for semi-supervised learning (USB)",
        license=task.license,
        language=["en"] if task.modality == "text" else None,
        task_categories=[f"{task.modality}-classification"],
        size_categories=[next((name for limit, name in _SIZES if total < limit), "10M<n<100M")],
        tags=["semi-supervised-learning", "usb-benchmark", "hf-ssl"],
        configs=[declared(task, name, files, tails) for name, files in configurations.items()],
    )


def declared(task: Task, name: str, files: Mapping[str, list[str]], tails: list[Tail]) -> dict[str, Any]:
    """A configuration as the card's metadata declare it."""
    default = {"default": True} if name == "full" else {}
    columns = list(repository.features(task))
    return {"config_name": name, **default, "data_files": declared_files(files), **reading(columns, tails, name)}


def declared_files(files: Mapping[str, list[str]]) -> list[dict[str, Any]]:
    """The splits of a configuration as the card's metadata declare them.

    Example:
        >>> declared_files({"test": ["data/test-*.parquet"]})
        [{'split': 'test', 'path': 'data/test-*.parquet'}]
    """
    return [{"split": split, "path": paths if len(paths) > 1 else paths[0]} for split, paths in files.items()]


def _baselines_note(task: Task) -> str:
    return (
        f"{SOURCE} The model was {task.usb_backbone}. `fully_supervised` trains on all labels, `supervised` on the "
        "drawn ones alone."
    )


def _baseline_table(task: Task) -> tuple[list[str], list[list[str]]]:
    """Header and rows of USB's numbers; no rows if there are none for this task."""
    columns = [published_errors(task.name, number) for number in task.label_settings]
    rows = []
    for name in dict.fromkeys(name for column in columns for name in column):
        values = [column.get(name) for column in columns]
        rows.append([name, *("-" if value is None else f"{value[0]:.2f} ± {value[1]:.2f}" for value in values)])
    return ["algorithm", *(f"{number:,} labels" for number in task.label_settings)], rows


def _tail_table(task: Task, markdown: bool = False) -> str:
    """What USB reported on the long tails of a task, in Markdown or for the screen; "" without any.

    A number in brackets is that of a note below the table; a column is headed N_1/M_1, gamma/gamma of the pool.
    """
    reported = published_long_tails(task.name)
    if not reported:
        return ""
    names = list(next(iter(reported.values())))
    notes = list(dict.fromkeys(note for name in names if (note := LONG_TAIL_NOTES.get(name.partition("_")[2]))))
    rows = []
    for name in names:
        note = LONG_TAIL_NOTES.get(name.partition("_")[2])
        mark = f" [{notes.index(note) + 1}]" if note else ""
        found = (column[name] for column in reported.values())
        cells = ["-" if value is None else f"{value.mean:.2f} ± {value.deviation:.2f}" for value in found]
        rows.append([(code(name) if markdown else name) + mark, *cells])
    header = ["algorithm", *map(_tail_header, reported)]
    lines = [f"[{place}] {note}" for place, note in enumerate(notes, start=1)]
    if markdown:
        return "\n\n".join([markdown_table(header, rows), *lines])
    shown = [f"  {line}" for line in table(header, rows).splitlines()]
    return "\n".join([*shown, "", *(_wrapped("  ", line) for line in lines)])


def _tail_header(setting: LongTail) -> str:
    """The heading of a setting's column.

    Example:
        >>> _tail_header(LongTail(1500, 3000, 100, -100)), _tail_header(LongTail(150, None, 10, None))
        ('1500/3000, 100/-100', '150, 10')
    """
    if setting.num_unlabeled is None:
        return f"{setting.num_labeled}, {setting.labeled_imbalance:g}"
    numbers = f"{setting.num_labeled}/{setting.num_unlabeled}"
    return f"{numbers}, {setting.labeled_imbalance:g}/{setting.unlabeled_imbalance:g}"


def describe_task(task: Task) -> str:
    """The task for `hf-ssl benchmark describe`: facts, settings, notes and published numbers as plain text."""
    facts = _facts(task)
    width = max(map(len, facts))
    lines = [f"{task.name}: {task.title}", ""]
    lines += [_wrapped(f"  {key:<{width}}  ", value) for key, value in facts.items()]
    lines += ["", *(_wrapped("- ", note) for note in task.notes)] if task.notes else []
    header, rows = _baseline_table(task)
    if rows:
        lines += ["", _wrapped("", _baselines_note(task)), "", table(header, rows)]
    if task.long_tails:
        lines += ["", _wrapped("", f"Long tails ({_TAIL_HEADERS}). {LONG_TAIL_SOURCE}"), "", _tail_table(task)]
    return "\n".join(lines)


def _wrapped(start: str, text: str) -> str:
    """`start` and the text in lines of at most 100 columns, if its words allow it, aligned after `start`."""
    indent = " " * len(start)
    return textwrap.fill(
        text, 100, initial_indent=start, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _facts(task: Task) -> dict[str, str]:
    classes = ", ".join(task.class_names[:12]) + (", ..." if len(task.class_names) > 12 else "")
    facts = {
        "modality": task.modality,
        "classes": f"{len(task.class_names)}: {classes}",
        "examples": ", ".join(f"{split} {count:,}" for split, count in task.sizes.items()),
        "labels": f"{', '.join(map(str, task.label_settings))}; seeds {', '.join(map(str, task.seeds))}",
        **({"long tails": ", ".join(setting.name for setting in task.long_tails)} if task.long_tails else {}),
        "raw data": task.source_url + (f" ({task.checksum})" if task.checksum else ""),
        "read from": ", ".join(task.readers),
        "copy on the Hub": task.hub_id or "none known",
        "license": f"{task.license}. {task.license_note}".strip(),
        "homepage": task.homepage,
        "USB's model": task.usb_backbone,
        "default model": task.backbone,
        "views": ", ".join(f"{key}={value}" for key, value in task.views.items()),
    }
    if task.normalization:
        facts["normalization"] = ", ".join(
            f"{key} {' '.join(f'{value:.4f}' for value in values)}" for key, values in task.normalization.items()
        )
    return facts


def write_cards(folder: str | Path) -> list[Path]:
    """Write the card of each of USB's 15 tasks to `<folder>/usb-<task>.md`, and return the files."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name in USB_TASKS:
        paths.append(folder / f"{repository.repository_name(TASKS[name])}.md")
        paths[-1].write_text(render_card(TASKS[name]), encoding="utf-8")
    return paths


if __name__ == "__main__":
    print("\n".join(map(str, write_cards("hub_cards"))))
