"""Is the result that is kept ever worse than labels alone? Tried on data of other kinds.

    python examples/benchmarks/features_elsewhere.py --data DATA --image-model M --text-model M --output FILE.json

Sets are made from three public ones and scikit-learn's digits, encoded once with a frozen model:

- digits: handwritten digits as pictures for the image encoder, and as their 64 pixels without one;
- two classes: sports against technology; animals against vehicles (six classes against four);
- twenty classes: ten kinds of photographs and ten digits together;
- tails: photographs and topics whose classes are up to 20 and 8 times as frequent as others, in pool and test set,
  with equally many labels per class, and with labels drawn as they come.

Labels are drawn with seeds 0 to 4. "Kept" is what `hf-ssl train --algorithm features` keeps: the features'
classifier, or the probe if the labels that are held out in turn speak against the pool (`hf_ssl.features.choose`). A
line is marked if the mean of the kept results is more than a standard error of the paired difference below the probe.
(Held-out parts of such sets, with other labels, were among those on which the classifier's settings were chosen.)
"""

import argparse
import json
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import datasets
import numpy as np
import torch
from evidence_tasks import Places
from features import encode
from PIL import Image
from sklearn.datasets import load_digits
from transformers import AutoImageProcessor, AutoModelForImageClassification

from hf_ssl import SSLConfig
from hf_ssl.features import FeatureBank, FeatureClassifier, normalize, pool_mean
from hf_ssl.features.choose import compare
from hf_ssl.features.probe import FREE, fit_probe, one_hot
from hf_ssl.features.start import labels_alone, labels_and_pool
from hf_ssl.files import atomic_write
from hf_ssl.report.results import versions
from hf_ssl.report.tables import table

SEEDS = (0, 1, 2, 3, 4)
PER_CLASS = (1, 4, 10, 25)

Parts = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def digits(places: Places) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features of the pictures, their pixels, and classes."""
    found = load_digits()
    pictures = [Image.fromarray((each / 16 * 255).astype(np.uint8)).convert("RGB") for each in found.images]
    names = datasets.ClassLabel(names=[str(number) for number in range(10)])
    rows = datasets.Dataset.from_dict(
        {"image": pictures, "label": found.target},
        features=datasets.Features({"image": datasets.Image(), "label": names}),
    )
    model = AutoModelForImageClassification.from_pretrained(
        places.image_model, num_labels=10, ignore_mismatched_sizes=True
    )
    args = SSLConfig("elsewhere", use_cpu=True, image_size=128, dataloader_num_workers=0)
    processor = AutoImageProcessor.from_pretrained(places.image_model)
    bank = FeatureBank.encode(model, rows, processor, args=args, disable_tqdm=True)
    return np.array(bank.features), found.data.astype(np.float32), found.target


def sets(places: Places) -> dict[str, Parts]:
    """Name -> features and classes of the pool, features and classes of the test set."""
    photographs, topics = (_parts(*encode(task, places)[:2]) for task in ("images", "text"))
    pictures, pixels, numbers = digits(places)
    chance = np.random.default_rng(0)
    order = chance.permutation(len(numbers))
    pool, test = order[:1300], order[1300:]
    as_pictures: Parts = (pictures[pool], numbers[pool], pictures[test], numbers[test])
    joined = [
        np.concatenate([first[:2000], second + 10 if second.ndim == 1 else second])
        for first, second in zip(photographs, as_pictures, strict=True)
    ]
    living = np.isin(np.arange(10), [2, 3, 4, 5, 6, 7]).astype(int)
    return {
        "digits as pictures": as_pictures,
        "digits as pixels": (pixels[pool], numbers[pool], pixels[test], numbers[test]),
        "two topics": _only(topics, [1, 3]),
        "animals and vehicles": (photographs[0], living[photographs[1]], photographs[2], living[photographs[3]]),
        "twenty classes": (joined[0], joined[1], joined[2], joined[3]),
        "photographs, tail": _tail(photographs, 20.0, chance),
        "topics, tail": _tail(topics, 8.0, chance),
    }


def _parts(pool: FeatureBank, test: FeatureBank) -> Parts:
    assert pool.labels is not None and test.labels is not None
    return np.array(pool.features), np.array(pool.labels), np.array(test.features), np.array(test.labels)


def _only(parts: Parts, classes: list[int]) -> Parts:
    pool, test = np.isin(parts[1], classes), np.isin(parts[3], classes)
    return (
        parts[0][pool],
        np.searchsorted(classes, parts[1][pool]),
        parts[2][test],
        np.searchsorted(classes, parts[3][test]),
    )


def _tail(parts: Parts, ratio: float, chance: np.random.Generator) -> Parts:
    """Class c is kept with probability ratio^(-c / (C - 1))."""
    share = ratio ** -np.linspace(0, 1, parts[1].max() + 1)
    pool, test = (chance.random(len(classes)) < share[classes] for classes in (parts[1], parts[3]))
    return parts[0][pool], parts[1][pool], parts[2][test], parts[3][test]


def draw(classes: np.ndarray, per_class: int, seed: int, as_they_come: bool) -> np.ndarray:
    """Positions of the labeled rows; each class has one at least."""
    chance, count = np.random.default_rng(seed), classes.max() + 1
    order = chance.permutation(len(classes))
    first = [order[classes[order] == number][: 1 if as_they_come else per_class] for number in range(count)]
    chosen = np.concatenate(first)
    rest = np.setdiff1d(order, chosen)
    return np.concatenate([chosen, chance.permutation(rest)[: per_class * count - len(chosen)]])


def run(name: str, parts: Parts, per_class: int, seed: int, as_they_come: bool) -> dict[str, Any]:
    """One draw: accuracies of the probe, of the features' classifier, and of what is kept."""
    features, classes, test, truth = parts
    count = int(classes.max()) + 1
    labels = np.full(len(classes), -1)
    chosen = draw(classes, per_class, seed, as_they_come)
    labels[chosen] = classes[chosen]
    x, z = normalize(features), normalize(test, pool_mean(features))
    probe = fit_probe(x[chosen], one_hot(labels[chosen], count), regularization=FREE)
    alone = float((probe.logits(z).argmax(axis=1) == truth).mean())
    pool = float((FeatureClassifier().fit(features, labels).predict(test) == truth).mean())
    better = compare(features, labels, count, labels_alone, labels_and_pool).second_is_better
    kept = {"probe": alone, "features": pool, "kept": pool if better else alone, "pool_is_kept": better}
    return {"set": name, "per_class": per_class, "as_they_come": as_they_come, "seed": seed, **kept}


def show(rows: list[dict[str, Any]]) -> str:
    """Means over the seeds, and the paired difference of what is kept to the probe."""
    lines = []
    for key in dict.fromkeys((row["set"], row["as_they_come"], row["per_class"]) for row in rows):
        mine = [row for row in rows if (row["set"], row["as_they_come"], row["per_class"]) == key]
        gains = [100 * (row["kept"] - row["probe"]) for row in mine]
        error = stdev(gains) / len(gains) ** 0.5 if len(gains) > 1 else 0.0
        values = [f"{100 * mean(row[way] for row in mine):.1f}" for way in ("probe", "features", "kept")]
        kept = f"{sum(row['pool_is_kept'] for row in mine)} of {len(mine)}"
        worse = "worse" if mean(gains) < -error else ""
        name = f"{key[0]}{', labels as they come' if key[1] else ''}"
        lines.append([name, str(key[2]), *values, kept, f"{mean(gains):+.1f} ± {error:.1f}", worse])
    return table(["set", "labels per class", "probe", "features", "kept", "pool kept", "kept - probe", ""], lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with ag_news and cifar10")
    parser.add_argument("--image-model", required=True, help="MobileNetV1-0.25 of transformers, from ImageNet")
    parser.add_argument("--text-model", required=True, help="all-MiniLM-L6-v2")
    parser.add_argument(
        "--output", type=Path, required=True, help="JSON file with a row per set, label count and seed"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name, parts in sets(Places(args.data, args.image_model, args.text_model)).items():
        for as_they_come in (False, True) if "tail" in name else (False,):
            rows += [run(name, parts, n, seed, as_they_come) for n in PER_CLASS for seed in SEEDS]
            print(show(rows[-len(PER_CLASS) * len(SEEDS) :]), flush=True)
    with atomic_write(args.output) as temporary:
        lines = json.dumps({"runs": rows, "versions": versions()}, indent=1)
        temporary.write_text(lines + "\n", encoding="utf-8")
    print(show(rows))


if __name__ == "__main__":
    main()
