"""`hf-ssl evaluate`: how good a trained model is on labeled data, class by class."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..data.columns import usual_label
from ..data.labels import Classes, index_labels, read_labels
from ..data.sources import count, load_source
from ..metrics import classification_metrics, confusion_matrix
from ..report.plots import draw_confusion
from ..report.tables import class_table, confusion_text, table
from .predict import Classifier, Item, as_rows, cells, input_columns, write_csv
from .quiet import quiet_datasets


def run(
    model: str,
    data: str,
    label_column: str | None,
    columns: Sequence[str] | None,
    output_dir: str | None,
    batch_size: int,
    device: str | None,
) -> None:
    """The whole command; errors are ValueError or OSError of one line."""
    folder = None if output_dir is None else Path(output_dir)
    if folder is not None and folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file; give another --output-dir")
    quiet_datasets()
    classifier = Classifier(model, batch_size, device)
    source = load_source(data, "test", modality=classifier.modality)
    dataset = source.dataset
    label_column = label_column or usual_label(dataset)
    if label_column is None:
        raise ValueError(
            f"{data} has no column of labels; its columns are {', '.join(dataset.column_names)}; name it with --label-column"
        )
    labels = np.asarray(class_indices(dataset, label_column, classifier.names))
    column = input_columns(dataset, classifier.modality, columns, data, label_column)
    values = cells(dataset, column)
    from tqdm.auto import tqdm

    answers = list(tqdm(classifier(values), total=len(values), unit="example", disable=None, leave=False))
    read = [i for i, answer in enumerate(answers) if not answer.error]
    for note in source.notes:
        print(note)
    if len(read) < len(answers):
        first = next(answer.error for answer in answers if answer.error)
        print(
            f"{len(answers) - len(read):,} of {len(answers):,} examples could not be read and do not count; the first: {first}"
        )
    if not read:
        raise ValueError(f"none of the {count(len(answers), 'example')} in {data} could be read")
    scores = np.array([[answers[i].probabilities[name] for name in classifier.names] for i in read])
    metrics = classification_metrics(scores, labels[read])
    matrix = confusion_matrix(scores.argmax(axis=1), labels[read], len(classifier.names))

    print(f"{count(len(read), 'example')}\n")
    print(table(["metric", "value"], [[name, f"{100 * value:.2f} %"] for name, value in metrics.items()]))
    print("\n" + class_table(matrix, classifier.names))
    print("\n" + confusion_text(matrix, classifier.names))
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    classes = {
        name: {
            "examples": int(matrix[i].sum()),
            "recall": float(matrix[i, i] / matrix[i].sum()) if matrix[i].sum() else None,
        }
        for i, name in enumerate(classifier.names)
    }
    content = {"metrics": metrics, "examples": len(read), "unreadable": len(answers) - len(read), "classes": classes}
    content["confusion_matrix"] = {"rows": "true class", "columns": "predicted class", "counts": matrix.tolist()}
    temporary = folder / ".evaluation.json.tmp"
    temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    temporary.replace(folder / "evaluation.json")
    items = [Item(_name(value, data), row, value) for row, value in enumerate(values)]
    header, rows = as_rows(items, answers, 1)
    truth = [classifier.names[label] for label in labels]
    write_csv(
        folder / "predictions.csv",
        [*header, "true_label"],
        [[*row, true] for row, true in zip(rows, truth, strict=True)],
    )
    written = ["evaluation.json", "predictions.csv"]
    try:
        draw_confusion(folder / "confusion_matrix.png", matrix, classifier.names)
        written.append("confusion_matrix.png")
    except ImportError:
        print('confusion_matrix.png was not drawn: matplotlib is missing; pip install "hf-ssl[plot]"')
    print(f"\nWritten to {folder}: {', '.join(written)}")


def _name(value, data: str) -> str:
    """The file that an example is, or the table that it is a row of."""
    if isinstance(value, dict):
        return value.get("path") or data
    return data


def class_indices(dataset, column: str, names: Sequence[str]) -> list[int]:
    """The true classes [N] as positions in the model's classes, by name.

    Raises:
        ValueError: if there is no such column, or a label that the model does not know; the message names it.
    """
    if column not in dataset.column_names:
        raise ValueError(f"there is no label column {column!r}; the columns are {', '.join(dataset.column_names)}")
    if all(name == f"LABEL_{i}" for i, name in enumerate(names)):
        # A model saved without names: numbers are all that can be compared.
        names = [str(i) for i in range(len(names))]
    labels = read_labels(dataset, column, "evaluation")
    if None in labels:
        raise ValueError(
            f"row {labels.index(None)} has no label in column {column!r}; evaluation needs a label in every row"
        )
    classes = Classes(list(names), {index: index for index in range(len(names))}, named=True)
    try:
        mapping = index_labels(labels, dataset.features[column], classes, "evaluation")
    except ValueError as error:
        raise ValueError(str(error).replace("the labeled dataset", "the model")) from None
    return labels if mapping is None else [mapping[label] for label in labels]
