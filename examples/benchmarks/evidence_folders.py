"""The folders that `evidence.yaml` and `evidence_upper.yaml` name: models and three small sets.

    python examples/benchmarks/evidence_folders.py --data DATA --image-model M --text-model M

writes below `evidence/` the models, each with its processor and the layers that do not learn in its configuration,
and the data: of CIFAR-10 the first 5,000 photographs. The encoder of the recordings comes with a package
(`evidence_audio.py` says how to install it).
"""

import argparse
import sys
from pathlib import Path

import datasets
from evidence_tasks import TASKS, Places, load, make_model

# Folder of a model -> task, and the layers that do not learn: none, or those of `evidence_tasks.py`.
FOLDERS = {
    "mobilenetv1-025": ("images", {}),
    "minilm-mean": ("text", {"frozen_layers": 0}),
    "minilm-mean-upper": ("text", TASKS["text"].own),
    "speech-embedding": ("audio", {"frozen_blocks": 0}),
    "speech-embedding-upper": ("audio", TASKS["audio"].own),
}
IMAGE_SIZE = 96
# Examples of the training data that are written; all of them if there is none.
POOL = {"images": 5_000}


def save_models(places: Places, folder: Path) -> None:
    """Write each model with its processor; the heads are new ones, which a cell replaces by its own."""
    for name, (task, own) in FOLDERS.items():
        classes = load(TASKS[task], places)["train"].features["label"].names
        model, processor = make_model(task, places, own, classes, IMAGE_SIZE, seed=0)
        for setting, value in own.items():
            setattr(model.config, setting, value)
        model.save_pretrained(folder / name)
        processor.save_pretrained(folder / name)


def save_data(places: Places, folder: Path) -> None:
    """Write the training data and the test set of each task."""
    for name, task in TASKS.items():
        data = load(task, places)
        data["train"] = data["train"].select(range(POOL.get(name, len(data["train"]))))
        (folder / task.folder).mkdir(parents=True, exist_ok=True)
        for split, rows in data.items():
            rows.to_parquet(folder / task.folder / f"{split}.parquet")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    Places.add_arguments(parser)
    parser.add_argument("--to", type=Path, default=Path("evidence"), help="where the folders are written")
    args = parser.parse_args(arguments)
    datasets.disable_progress_bars()
    places = Places.of(args)
    save_models(places, args.to)
    save_data(places, args.to)
    return 0


if __name__ == "__main__":
    sys.exit(main())
