"""The dataset card of a task. `python -m hf_ssl.benchmark.cards` writes those that `hub_cards/` holds for people to read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ..report.tables import table
from . import repository
from .baselines import SOURCE, published_errors
from .citations import USB
from .tasks import TASKS, UNCONFIRMED, USB_TASKS, Task

# Where a card names the account that publishes it.
_OWNER = "NAMESPACE"
_OR_A_FOLDER = "  # or a folder that was built"
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
        record: what a build wrote down: its counts and draws are added, and only what was built is declared. None renders
            the card of a complete build.
    """
    splits, draws = tuple(task.sizes), repository.draws_of(task)
    if record is not None:
        splits = tuple(record["splits"])
        draws = [(draw["num_labeled"], draw["seed"]) for draw in record["draws"].values()]
    configurations = repository.configurations(task, splits, draws)
    metadata = yaml.safe_dump(_metadata(task, configurations), sort_keys=False, allow_unicode=True, width=1_000)
    parts = [
        f"# {task.title} for semi-supervised learning",
        f"{task.title} as the USB benchmark (arXiv 2208.07204) uses it: {_what(task)} "
        + (
            ""
            if task.given_labels
            else "USB's draws of labels, index by index, are configurations over shared Parquet files. "
        )
        + "No code is needed to load it.",
        "## Load it",
        _loading(task, draws),
        "## Splits",
        _table(["split", "examples"], [[f"`{split}`", f"{_rows(task, record, split):,}"] for split in splits]),
        _incomplete(task, record),
        _pool(task),
        "## How it was split",
        _splitting(task),
        "\n".join(f"- {note}" for note in task.notes),
        "## Source and licence",
        _source(task),
        "## Classes",
        ", ".join(f"{index} {name}" for index, name in enumerate(task.class_names)),
        "## Baselines",
        _baselines(task),
    ]
    if record is not None:
        parts += ["## This build", _build(task, record)]
    parts += ["## Citations", f"```bibtex\n{task.citation}\n{USB}\n```"]
    return f"---\n{metadata}---\n\n" + "\n\n".join(part for part in parts if part) + "\n"


def with_namespace(card: str, namespace: str) -> str:
    """The card's text, its lines of code naming the account that it is published by."""
    return (
        card.replace(_OR_A_FOLDER, "")
        .replace(f'"{_OWNER}/', f'"{namespace}/')
        .replace(f'"{_OWNER}"', f'"{namespace}"')
    )


def _metadata(task: Task, configurations) -> dict[str, Any]:
    total = sum(task.sizes.values())
    metadata: dict[str, Any] = {
        "pretty_name": f"{task.title} for semi-supervised learning (USB)",
        "license": task.licence,
        "task_categories": [f"{task.modality}-classification"],
        "size_categories": [next((name for limit, name in _SIZES if total < limit), "10M<n<100M")],
        "tags": ["semi-supervised-learning", "usb-benchmark", "hf-ssl"],
    }
    if task.modality == "text":
        metadata["language"] = ["en"]
    metadata["configs"] = [
        {
            "config_name": name,
            **({"default": True} if name == "full" else {}),
            "data_files": [
                {"split": split, "path": paths if len(paths) > 1 else paths[0]} for split, paths in files.items()
            ],
        }
        for name, files in configurations.items()
    ]
    return metadata


def _what(task: Task) -> str:
    things = {"image": "images", "text": "English texts", "audio": "recordings (16 kHz, mono, FLAC)"}[task.modality]
    settings = " or ".join(f"{number:,}" for number in task.label_settings)
    return f"{things} in {len(task.class_names)} classes, {settings} of them labeled, the rest to learn from without labels."


def _loading(task: Task, draws) -> str:
    num_labeled, seed = draws[0]
    name = repository.config_name(num_labeled, seed)
    lines = [
        "```python",
        "from datasets import load_dataset",
        "",
        f'data = load_dataset("{_OWNER}/{repository.repository_name(task)}", "{name}"){_OR_A_FOLDER}',
        'data["labeled"], data["unlabeled"], data["test"]',
        "```",
        "",
        f"`full` has all data under its own splits. The others are named `labels<number>_seed<seed>`: "
        f"{', '.join(f'{number:,}' for number in dict.fromkeys(number for number, _ in draws))} labels, "
        f"seeds {', '.join(str(seed) for seed in dict.fromkeys(seed for _, seed in draws))}.",
    ]
    if task.modality == "audio":
        lines += ["", "`datasets` decodes audio with torchcodec; without it, read the bytes:"]
        lines += [
            "",
            "```python",
            "import io",
            "",
            "import soundfile",
            "from datasets import Audio",
            "",
            'row = data["test"].cast_column("audio", Audio(decode=False))[0]',
            'wave, sampling_rate = soundfile.read(io.BytesIO(row["audio"]["bytes"]))',
            "```",
        ]
    lines += [
        "",
        f'With the package: `hf_ssl.benchmark.load_task("{task.name}", num_labeled={num_labeled}, seed={seed}, '
        f'source="{_OWNER}")`.',
    ]
    return "\n".join(lines)


def _rows(task: Task, record, split: str) -> int:
    return task.sizes[split] if record is None else record["splits"][split]["rows"]


def _incomplete(task: Task, record) -> str:
    if record is None or all(
        split in record["splits"] and _rows(task, record, split) == task.sizes[split] for split in task.sizes
    ):
        return ""
    sizes = ", ".join(f"{count:,} `{split}`" for split, count in task.sizes.items())
    return f"**This is not all of USB's data**, which has {sizes} examples: numbers are not comparable with USB's."


def _pool(task: Task) -> str:
    columns = f"The columns are `{task.modality}` and `{task.label_column}`"
    if task.modality == "text":
        columns += ", with the back-translations `aug_0` and `aug_1` of the training texts where they were made"
    if "unlabeled" not in task.sizes:
        return (
            f"{columns}. `labeled` is the draw, and `unlabeled` all of `train`, the drawn examples among them, as in USB. Its "
            "labels are there to measure pseudo-labels with; no algorithm may train on them."
        )
    if task.given_labels:
        return f"{columns}. `labeled` is all of `train`, whatever the seed, and `unlabeled` the pool. A label of -1 means none."
    return f"{columns}. `labeled` is the draw; `unlabeled` is the draw, the unlabeled examples (label -1) and `train`, as in USB."


def _splitting(task: Task) -> str:
    if task.given_labels:
        return "The labeled set is given, so the seeds do not differ in their data."
    sentences = []
    if task.per_class:
        train, validation = task.per_class
        sentences.append(
            f"Of each class {train:,} shuffled training rows are `train` and the next {validation:,} `validation`."
        )
    sentences.append(
        "The labels of a setting are drawn with NumPy's legacy generator, freshly seeded: class by class the indices of the "
        "training examples are shuffled and the first ones taken, the same number from each class."
    )
    if task.shuffle_first:
        sentences.append("The training examples are permuted once before, as USB does for this task.")
    sentences.append(
        f"`{repository.RECORD}` holds the SHA-256 of each draw's indices as little-endian int64, and "
        "`hf-ssl benchmark verify` derives them again."
    )
    return " ".join(sentences)


def _source(task: Task) -> str:
    rows = [
        ["homepage", task.homepage],
        ["raw data", task.source_url],
        ["checksum", f"`{task.checksum}`" if task.checksum else UNCONFIRMED],
        ["licence", f"{task.licence}. {task.licence_note}".strip()],
    ]
    if task.hub_id:
        rows.insert(2, ["copy on the Hub", f"`{task.hub_id}`"])
    if task.redistribution_forbidden:
        rows.append(["publishing", "in private repositories only: its terms forbid to pass the data on"])
    rows.append(["built with", f"`hf-ssl benchmark build {task.name} --source DIR`"])
    return _table(["", ""], rows)


def _baselines(task: Task) -> str:
    header, rows = _baseline_table(task)
    if not rows:
        return "USB's tables have no numbers for this task with a pretrained Transformer."
    return f"{_baseline_words(task)}\n\n{_table(header, [[f'`{row[0]}`', *row[1:]] for row in rows])}"


def _baseline_words(task: Task) -> str:
    model = f"The model was {task.usb_backbone}."
    return f"{SOURCE} {model} `fully_supervised` knows all labels, `supervised` the drawn ones alone."


def _baseline_table(task: Task) -> tuple[list[str], list[list[str]]]:
    columns = [published_errors(task.name, number) for number in task.label_settings]
    rows = []
    for name in dict.fromkeys(name for column in columns for name in column):
        values = [column.get(name) for column in columns]
        rows.append([name, *("-" if value is None else f"{value[0]:.2f} ± {value[1]:.2f}" for value in values)])
    return ["algorithm", *(f"{number:,} labels" for number in task.label_settings)], rows


def _build(task: Task, record: Mapping[str, Any]) -> str:
    rows = [
        [f"`{name}`", f"{draw['labeled']:,}", f"`{draw['labeled_sha256']}`"] for name, draw in record["draws"].items()
    ]
    found = [f"{count:,} of `{split}`" for split, count in record["overlap_with_test"].items()]
    text = f"Examples that equal a test example byte for byte: {', '.join(found)}. Built by hf-ssl {record['hf_ssl']}."
    if checksum := record.get("checksum"):
        same = "which is" if checksum == task.checksum else "which is not"
        text += f" The publisher's file had the checksum `{checksum}`, {same} the stated one."
    if translated := record.get("augmentation"):
        models = ", ".join(f"`{name}`" for name in translated["translation_models"])
        text += f" Back-translated with {models}, sampled at temperature {translated['temperature']}."
    return f"{_table(['configuration', 'labeled', 'SHA-256 of the labeled indices'], rows)}\n\n{text}"


def _table(header: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in [header, ["---"] * len(header), *rows])


def describe_task(task: Task) -> str:
    """The task for `hf-ssl benchmark describe`: facts, settings, notes and published numbers as plain text."""
    facts = {
        "modality": task.modality,
        "classes": f"{len(task.class_names)}: {', '.join(task.class_names[:12])}"
        + (", ..." if len(task.class_names) > 12 else ""),
        "examples": ", ".join(f"{split} {count:,}" for split, count in task.sizes.items()),
        "labels": f"{', '.join(map(str, task.label_settings))}; seeds {', '.join(map(str, task.seeds))}",
        "raw data": task.source_url + (f" ({task.checksum})" if task.checksum else ""),
        "read from": ", ".join(task.readers),
        "copy on the Hub": task.hub_id or "none known",
        "licence": f"{task.licence}. {task.licence_note}".strip(),
        "homepage": task.homepage,
        "USB's model": task.usb_backbone,
        "default model": task.backbone,
        "views": ", ".join(f"{key}={value}" for key, value in task.views.items()),
    }
    if task.normalisation:
        facts["normalisation"] = ", ".join(
            f"{key} {' '.join(f'{value:.4f}' for value in values)}" for key, values in task.normalisation.items()
        )
    width = max(map(len, facts))
    lines = [f"{task.name}: {task.title}", "", *(f"  {key:<{width}}  {value}" for key, value in facts.items())]
    lines += ["", *(f"- {note}" for note in task.notes)] if task.notes else []
    header, rows = _baseline_table(task)
    if rows:
        lines += ["", _baseline_words(task), "", table(header, rows)]
    return "\n".join(lines)


def write_cards(folder: str | Path) -> list[Path]:
    """Write the card of each of the 15 tasks to `<folder>/usb-<task>.md`."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name in USB_TASKS:
        paths.append(folder / f"{repository.repository_name(TASKS[name])}.md")
        paths[-1].write_text(render_card(TASKS[name]), encoding="utf-8")
    return paths


if __name__ == "__main__":
    print("\n".join(map(str, write_cards("hub_cards"))))
