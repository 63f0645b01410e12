"""What `hf-ssl inspect` gathers of a run, by hand: a document for its page, of any number of examples and classes."""

import base64
import random

# A red pixel.
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
METHODS = ["probe", "features", "fixmatch"]


def silence(samples=80):
    """A WAV file, 8 kHz, 8 bits."""
    head = b"RIFF" + (36 + samples).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
    head += (1).to_bytes(2, "little") * 2 + (8000).to_bytes(4, "little") * 2
    head += (1).to_bytes(2, "little") + (8).to_bytes(2, "little") + b"data" + samples.to_bytes(4, "little")
    return "data:audio/wav;base64," + base64.b64encode(head + b"\x80" * samples).decode()


def medium(kind, i):
    if kind == "text":
        return {"kind": "text", "text": f"text number {i}"}
    if kind == "audio":
        return {"kind": "audio", "src": silence(), "seconds": 0.01}
    return {"kind": "image", "src": f"data:image/png;base64,{PIXEL}"}


def make_document(examples=60, classes=3, kind="image", previews=None, **changes):
    """Example i is of class i % classes, at (i / examples, (i % classes) / classes).

    The first 2 * classes are labeled, the last tenth is the test set. "fixmatch" is wrong about every tenth, "probe"
    about every second. Confidence grows with i.
    """
    previews = examples if previews is None else previews
    numbers = range(examples)
    labels = [i % classes for i in numbers]
    found = [(k + (i % 10 == 9)) % classes for i, k in zip(numbers, labels, strict=True)]
    probe = [(k + i % 2) % classes for i, k in zip(numbers, labels, strict=True)]
    counts = [[0] * classes for _ in range(classes)]
    for k, by in zip(labels, found, strict=True):
        counts[k][by] += 1
    return {
        "title": "photos",
        "subtitle": "a run of hf-ssl train",
        "facts": [["model", "org/model"], ["accuracy", "90.0 %"]],
        "verdict": "Kept: fixmatch.",
        "stages": [
            {"algorithm": "probe", "test_accuracy": 0.5, "estimate": 0.5, "estimate_error": 0.1, "seconds": 1.0},
            {"algorithm": "fixmatch", "test_accuracy": 0.9, "seconds": 20.0, "kept": True},
        ],
        "curves": {
            "loss": {"fixmatch": [[10, 2.0], [20, 1.0], [30, 0.5]]},
            "accuracy": {"fixmatch": [[10, 0.5], [30, 0.9]]},
        },
        "classes": [
            {"name": f"class {k}", "labeled": 2, "predicted": found.count(k), "recall": 0.9} for k in range(classes)
        ],
        "methods": METHODS,
        "examples": {
            "part": [0 if i < 2 * classes else 2 if i >= 0.9 * examples else 1 for i in numbers],
            "row": list(numbers),
            "name": [f"{i}.png" if kind == "image" else None for i in numbers],
            "x": [i / examples for i in numbers],
            "y": [k / classes for k in labels],
            "label": labels,
            "predicted": {"probe": probe, "features": found, "fixmatch": found},
            "confidence": [i / examples for i in numbers],
            "disagreement": [(i % 7) / 7 for i in numbers],
            "change": [(i % 5) / 5 for i in numbers],
            "foreign": [1 - i / examples for i in numbers],
            "media": [i if i < previews else -1 for i in numbers],
        },
        "media": [medium(kind, i) for i in range(previews)],
        "confusion": {"of": "test", "counts": counts},
        "calibration": {
            "of": "test",
            "ece": 0.0612,
            "brier": 0.1824,
            "nll": 0.4118,
            "bins": [[0.0, 0.5, 0, None, None], [0.5, 1.0, 10, 0.75, 0.6]],
        },
        "label_errors": [{"example": 3, "given": 0, "suggested": 1, "probability": 0.973}],
        "duplicates": [{"first": 1, "second": examples - 1, "similarity": 0.9981}],
        "settings": {"algorithm": "auto", "batch_size": 32, "fp16": False, "views": ["weak", "strong"]},
        "command": "hf-ssl train --labeled L \\\n  --unlabeled U",
        "versions": {"hf-ssl": "1.2.3"},
        **changes,
    }


def without_data(document):
    """The same run when model and data have moved: no examples, nothing measured."""
    columns = {name: [] for name in document["examples"]} | {"predicted": {}}
    nothing = dict.fromkeys(("confusion", "calibration", "verdict"))
    empty = {name: [] for name in ("facts", "stages", "classes", "methods", "media", "label_errors", "duplicates")}
    return {
        **document,
        **nothing,
        **empty,
        "examples": columns,
        "curves": {},
        "settings": {},
        "command": "",
        "versions": {},
    }


def large_document(examples=10_000, previews=1_000):
    """As large as pages get: thumbnails of 2 KB and other numbers in every row."""
    chance = random.Random(0)
    document = make_document(examples, 10, previews=previews)
    for column in ("x", "y", "confidence", "disagreement", "change", "foreign"):
        document["examples"][column] = [chance.random() for _ in range(examples)]
    picture = f"data:image/png;base64,{PIXEL}"
    # What follows the end of a PNG is not read.
    document["media"] = [{"kind": "image", "src": picture.rstrip("=") + "A" * 2_720} for _ in range(previews)]
    return document
