"""Is an ensemble better than its best member? `train_ensemble` with 40 labels on texts and photographs.

    python examples/benchmarks/ensemble.py run --data DATA --text-model M --image-model M    # every missing run
    python examples/benchmarks/ensemble.py run --task text --seed 0 --data ...
    python examples/benchmarks/ensemble.py table

Data, encoders and draws of labels are those of `evidence_tasks.py` (texts of 32 tokens, the first 5,000 photographs);
1,000 examples of the test set, as many of each class, are predicted. Members of texts are a probe and a
`FeatureClassifier` of frozen features, the upper third of the layers and LoRA; of photographs the first two and all
weights, each of two copies of the network that see 128 and 160 pixels. The student is the first model with the first
method. Every rule votes, the student learns from `mean_probabilities`, and `hf_ssl.select` ranks the members by 500
examples of the pool. Steps and the share of unlabeled examples are those in `TASKS`, as few as a shared CPU affords;
all other settings are the package's defaults, and nothing was chosen by these runs. Seconds are those of the CPU, with
one thread.
"""

import argparse
import json
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import datasets
import numpy as np
import torch
from evidence_results import add, machine, read
from evidence_tasks import TASKS as EVIDENCE
from evidence_tasks import Places, draw, load, make_model
from safetensors.numpy import load_file
from transformers.image_utils import PILImageResampling
from transformers.utils import logging

from hf_ssl.ensemble import VOTES, soft_labels, train_ensemble
from hf_ssl.report.results import versions
from hf_ssl.report.tables import markdown_table
from hf_ssl.select import choose, known_accuracy, label_free_scores, read_runs

RESULTS = Path(__file__).parent / "results" / "ensemble.json"
SEEDS = (0, 1, 2, 3, 4)
LABELS = 40
# Photographs of the pool, examples of it by which members are ranked, and examples that are tested on.
POOL, RANKED, TESTED = 5_000, 500, 1_000


@dataclass(frozen=True)
class Task:
    """What is trained.

    Args:
        title: in the table.
        methods: of the members.
        settings: of `SSLConfig`.
        sizes: pixels; a model for each.
    """

    title: str
    methods: tuple[str, ...]
    settings: dict[str, Any]
    sizes: tuple[int, ...] = ()


TASKS = {
    "text": Task(
        "AG News, MiniLM",
        ("upper", "lora", "features", "probe"),
        {"max_steps": 60, "unlabeled_batch_ratio": 3, "max_length": 32},
    ),
    "images": Task(
        "CIFAR-10, MobileNetV1-0.25",
        ("none", "features", "probe"),
        {"max_steps": 60, "unlabeled_batch_ratio": 3},
        (128, 160),
    ),
}


def run(task: str, seed: int, places: Places, validation: bool, changes: dict[str, Any]) -> dict[str, Any]:
    """One ensemble; a row with the accuracy of each member, each vote and the student."""
    data = load(EVIDENCE[task], places)
    if task == "images":
        data["train"] = data["train"].select(range(POOL + (1_000 if validation else 0)))
    drawn = draw(replace(EVIDENCE[task], test_examples=TESTED), data, LABELS, seed, validation)
    quiet = {"use_cpu": True, "report_to": "none", "disable_tqdm": True, "dataloader_num_workers": 0}
    start = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        trainer = train_ensemble(
            _models(task, places, data["train"].features["label"].names, place),
            train_dataset=drawn.labeled,
            unlabeled_dataset=drawn.pool,
            eval_dataset=drawn.test,
            methods=TASKS[task].methods,
            settings={"output_dir": str(place / "run"), "seed": seed, **quiet, **TASKS[task].settings, **changes},
        )
        members = sorted((place / "run" / "members").iterdir())
        logits = [load_file(member / "logits.safetensors") for member in members]
        truth = np.asarray(drawn.test["label"])
        votes = {
            rule: float(
                (soft_labels(np.stack([each["test"] for each in logits]), rule).argmax(axis=1) == truth).mean()
            )
            for rule in VOTES
        }
        selection = _select(members, drawn.pool, task, trainer.args)
        accuracies = {member.name: known_accuracy(str(member)) for member in members}
    rows = trainer.card.stages
    return {
        "task": task,
        "seed": seed,
        "draw": drawn.hash[:16],
        "test_examples": len(drawn.test),
        "members": accuracies,
        "votes": votes,
        "pseudo_label_accuracy": next(row["pseudo_label_accuracy"] for row in rows if row["algorithm"] == "ensemble"),
        "members_agree": next(row["members_agree"] for row in rows if row["algorithm"] == "ensemble"),
        "student": rows[-1]["test_accuracy"],
        "selection": selection,
        "settings": {**TASKS[task].settings, **changes},
        "cpu_seconds": round(time.process_time() - start, 1),
        "machine": machine(),
        "versions": versions(),
    }


def _models(task: str, places: Places, names: list[str], folder: Path) -> list[str]:
    """The text encoder as it is; the image model once for each size of pictures."""
    if task == "text":
        return [places.text_model]
    found = []
    for size in TASKS[task].sizes:
        model, processor = make_model(task, places, {}, names, size, seed=0)
        processor.resample = PILImageResampling.BICUBIC
        found.append(str(folder / f"mobilenet-{size}"))
        model.save_pretrained(found[-1])
        processor.save_pretrained(found[-1])
    return found


def _select(members: list[Path], pool: datasets.Dataset, task: str, args: Any) -> dict[str, Any]:
    """Which member is chosen without labels, and how well that agrees with the test set."""
    rows = pool.select(np.sort(np.random.default_rng(0).permutation(len(pool))[:RANKED])).remove_columns("label")
    folders = [str(member) for member in members]
    found = read_runs(folders, rows, "image" if task == "images" else "text", args=args)
    choice = choose([label_free_scores(each.features, each.logits) for each in found])
    agreement = choice.agreement([known_accuracy(folder) for folder in folders])
    assert agreement is not None
    return {"chosen": members[choice.chosen].name, "spearman": agreement.spearman, "regret": agreement.regret}


# ---- Results ----


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: means over the draws with their standard errors, and differences from the best member."""
    lines = []
    for task in dict.fromkeys(row["task"] for row in rows):
        mine = [row for row in rows if row["task"] == task]
        members = {name: [row["members"][name] for row in mine] for name in mine[0]["members"]}
        best = max(members, key=lambda name: mean(members[name]))
        measured = {f"member {_said(name)}": values for name, values in members.items()}
        measured |= {f"vote: {rule}": [row["votes"][rule] for row in mine] for rule in VOTES}
        measured["student"] = [row["student"] for row in mine]
        measured["member chosen without labels"] = [row["members"][row["selection"]["chosen"]] for row in mine]
        for name, values in measured.items():
            gains = [value - other for value, other in zip(values, members[best], strict=True)]
            is_best = name == f"member {_said(best)}"
            lines.append([TASKS[task].title, name, _spread(values), "the best" if is_best else _spread(gains, "+")])
    return markdown_table(["data, encoder", "", "accuracy, %", "against the best member, points"], lines)


def _said(member: str) -> str:
    """Of a folder's name what tells members apart.

    Example:
        >>> _said("mobilenet-128-features"), _said("model-lora")
        ('128-features', 'lora')
    """
    return member.removeprefix("mobilenet-").removeprefix("model-")


def _spread(values: list[float], sign: str = "") -> str:
    error = stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return f"{100 * mean(values):{sign}.1f} ± {100 * error:.1f}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    Places.add_arguments(parser, required=False)
    parser.add_argument("--tasks", "--task", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--seeds", "--seed", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--set", type=json.loads, default={}, metavar="JSON", help="settings to change")
    parser.add_argument("--validation", action="store_true", help="test on a part of the training data; not saved")
    args = parser.parse_args(arguments)
    if args.what == "table":
        print(table(read(args.results)))
        return 0
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    datasets.disable_progress_bars()
    places = Places.of(args)
    done = {(row["task"], row["seed"]) for row in read(args.results)}
    for seed in args.seeds:
        for task in args.tasks:
            if args.validation or (task, seed) not in done:
                row = run(task, seed, places, args.validation, args.set)
                print(json.dumps(row), flush=True)
                if not args.validation:
                    add(args.results, row, ("task", "seed"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
