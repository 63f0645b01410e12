"""How similar a file and its changed copy are, and how similar the nearest other files are, as the encoder sees them.

    python examples/benchmarks/near_duplicates.py --data DATA --image-model M --text-model M --output FILE.json

300 examples of the training data are changed in ways that leave them the same to a person, and encoded as features.py
does. A pair is found if its cosine, after the pool's mean was subtracted, reaches the threshold. Other pairs are those
of an example and its nearest neighbor in the pool that is not a copy; near duplicates that the data already hold are
among them. The threshold is that of `least_similarity`.
"""

import argparse
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import soundfile
import torch
from evidence_tasks import TASKS, Places, load
from label_errors import encode, encoder_of
from PIL import Image, ImageEnhance

from hf_ssl.features import FeatureBank, normalize, pool_mean
from hf_ssl.features.near_duplicates import least_similarity
from hf_ssl.files import atomic_write
from hf_ssl.report.tables import table

EXAMPLES = 300
THRESHOLDS = (0.8, 0.85, 0.9, 0.95, 0.98)


def resaved(image: Image.Image) -> Image.Image:
    """As a JPEG of quality 75."""
    file = io.BytesIO()
    image.convert("RGB").save(file, "JPEG", quality=75)
    return Image.open(file)


def cropped(image: Image.Image) -> Image.Image:
    """Without a sixteenth of each side, at the old size."""
    width, height = image.size
    return image.crop((width // 16, height // 16, width - width // 16, height - height // 16)).resize(image.size)


def brighter(image: Image.Image) -> Image.Image:
    """By a fifth."""
    return ImageEnhance.Brightness(image).enhance(1.2)


def with_typo(text: str) -> str:
    """Two letters of the longest word exchanged."""
    word = max(text.split(), key=len)
    return text.replace(word, word[:1] + word[1:3][::-1] + word[3:], 1)


def without_word(text: str) -> str:
    """Without the word in the middle."""
    words = text.split()
    return " ".join(words[: len(words) // 2] + words[len(words) // 2 + 1 :])


def shortened(text: str) -> str:
    """Without the last fifth of its words."""
    words = text.split()
    return " ".join(words[: len(words) - len(words) // 5])


def cut(wave: np.ndarray) -> np.ndarray:
    """Without its first and last twentieth."""
    return wave[len(wave) // 20 : len(wave) - len(wave) // 20]


def quieter(wave: np.ndarray) -> np.ndarray:
    """Half as loud."""
    return wave / 2


def noisier(wave: np.ndarray) -> np.ndarray:
    """With noise 30 dB below its mean power."""
    level = np.sqrt(np.square(wave).mean()) * 10**-1.5
    return wave + level * np.random.default_rng(0).normal(size=len(wave))


def of_file(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The change of a wave as that of an audio file."""

    def changed(cell: dict[str, Any]) -> dict[str, Any]:
        given = cell["path"] if cell.get("bytes") is None else io.BytesIO(cell["bytes"])
        wave, rate = soundfile.read(given)
        file = io.BytesIO()
        soundfile.write(file, change(wave), rate, format="WAV")
        return {"bytes": file.getvalue(), "path": None}

    return changed


CHANGES: dict[str, tuple[str, dict[str, Callable]]] = {
    "images": ("image", {"saved again": resaved, "cropped": cropped, "brighter": brighter}),
    "text": ("text", {"typo": with_typo, "a word less": without_word, "shortened": shortened}),
    "audio": ("audio", {"cut": of_file(cut), "half as loud": of_file(quieter), "noise": of_file(noisier)}),
}


def changed_features(task: str, places: Places) -> tuple[FeatureBank, dict[str, np.ndarray]]:
    """The pool's features, and those of the changed copies of its first rows, by the kind of change."""
    column, changes = CHANGES[task]
    first = load(TASKS[task], places)["train"].select(range(EXAMPLES))
    model, processor, args = encoder_of(task, places)
    copies = {}
    for name, change in changes.items():
        cells = [change(cell) for cell in first[column]]
        rows = datasets.Dataset.from_dict({column: cells}).cast_column(column, first.features[column])
        copies[name] = FeatureBank.encode(model, rows, processor, args=args, disable_tqdm=True).features
    return encode(task, places), copies


def measure(task: str, places: Places) -> dict[str, Any]:
    """Cosines of the pairs: quantiles, and which shares reach each threshold."""
    bank, copies = changed_features(task, places)
    mean = pool_mean(bank.features)
    pool = normalize(bank.features, mean)
    between = pool[:EXAMPLES] @ pool.T
    between[np.arange(EXAMPLES), np.arange(EXAMPLES)] = -1
    cosines = {name: (pool[:EXAMPLES] * normalize(copy, mean)).sum(axis=1) for name, copy in copies.items()}
    cosines["nearest other"] = between.max(axis=1)
    least = least_similarity(bank.features)
    return {
        name: {
            "quantiles_5_50_95": [round(float(value), 3) for value in np.quantile(values, [0.05, 0.5, 0.95])],
            "reach": {str(each): round(float((values >= each).mean()), 4) for each in THRESHOLDS},
            "threshold": round(least, 3),
            "found": round(float((values >= least).mean()), 4),
        }
        for name, values in cosines.items()
    }


def show(found: dict[str, dict[str, Any]]) -> str:
    """A line per kind of pair."""
    lines = []
    for task, kinds in found.items():
        for name, row in kinds.items():
            low, middle, high = row["quantiles_5_50_95"]
            shares = [f"{100 * share:.1f}" for share in (*row["reach"].values(), row["found"])]
            lines.append([task, name, f"{middle:.2f} ({low:.2f} to {high:.2f})", *shares, str(row["threshold"])])
    heads = [f"% at {threshold}" for threshold in THRESHOLDS]
    return table(["task", "pair", "median cosine (5 % to 95 %)", *heads, "% found", "threshold"], lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    Places.add_arguments(parser)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--output", type=Path, required=True, help="JSON file with cosines and shares")
    args = parser.parse_args()
    torch.set_num_threads(1)
    places = Places.of(args)
    found = {task: measure(task, places) for task in args.tasks}
    with atomic_write(args.output) as temporary:
        temporary.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(show(found))


if __name__ == "__main__":
    main()
