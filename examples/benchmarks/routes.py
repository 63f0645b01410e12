"""Which route to take with a few labels: everything that was measured here on the same draws, beside each other.

    python examples/benchmarks/routes.py table
    python examples/benchmarks/routes.py picture

Nothing is trained: the runs are those of `stages.json`, `ensemble.json`, the cells of `evidence`, and the teachers of
`evidence_teachers` in `results`, each with its own script and settings. Two runs belong together if they have the same
labeled examples and as many test examples; photographs of the cells were tested on half of the others' test examples,
and are paired all the same. A run without a probe of frozen features that it belongs to is left out; the gain of a
route is paired with that probe.

The stages have a hash of the labeled rows' numbers, the cells one of their content; the draws of a seed are the same.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from evidence_results import read

from hf_ssl.benchmark.grid import read_results
from hf_ssl.report.tables import markdown_table

RESULTS = Path(__file__).parent / "results"
PICTURE = RESULTS / "routes.png"
# Labels per class, and in all.
LABELS = {"text": (10, 40), "images": (4, 40), "audio": (5, 50)}
TITLES = {
    "text": "AG News, 40 labels",
    "images": "CIFAR-10, 40 labels",
    "audio": "Speech Commands, 50 labels",
}
PROBE = "probe of frozen features"


@dataclass(frozen=True)
class Measured:
    """One run.

    Args:
        draw: the first 16 digits of the hash of the labeled examples.
        examples: of the test set that were tested on.
    """

    route: str
    task: str
    draw: str
    examples: int
    accuracy: float


_STAGES = {
    "probe": PROBE,
    "supervised": "labels alone, fine-tuned",
    "supervised_lora": "labels alone, LoRA",
    "setfit": "SetFit",
    "features": "features of labels and pool",
    "tuned": "fine-tuned from these features (`hf-ssl train`)",
}
# (Algorithm, variant) of a cell -> route.
_TRAINED = {
    ("freematch", None): "FreeMatch from a new head",
    ("adamatch", None): "AdaMatch from a new head",
    ("freematch", "features"): "FreeMatch from features",
    ("adamatch", "features"): "AdaMatch from features",
}
_TAUGHT = {
    ("supervised", None): "labels and a teacher",
    ("freematch", None): "FreeMatch and a teacher",
    ("supervised", "teacher"): "labels and a teacher, from its head",
    ("freematch", "teacher"): "FreeMatch and a teacher, from its head",
}
_TEACHER = "a teacher alone"
_Routes = Mapping[tuple[str, str | None], str]
# (Task, backbone) of a cell -> task, and the routes.
_CELLS: dict[tuple[str, str], tuple[str, _Routes]] = {
    ("ag_news_4000", "minilm-mean-upper"): ("text", _TRAINED),
    ("cifar10_5000", "mobilenetv1-025"): ("images", _TRAINED),
    ("speech_commands_3156", "speech-embedding-upper"): ("audio", _TRAINED),
    ("ag_news_taught", "minilm-mean-upper"): ("text", _TAUGHT),
    ("cifar10_taught", "mobilenetv1-025"): ("images", _TAUGHT),
    ("speech_commands_taught", "speech-embedding-upper"): ("audio", _TAUGHT),
}
_TASKS_OF_TEACHERS = {"ag_news": "text", "cifar10": "images", "speech_commands": "audio"}


def _stages(row: dict[str, Any]) -> Iterator[tuple[str, float]]:
    if row["per_class"] == LABELS[row["task"]][0]:
        for stage, found in row["stages"].items():
            if stage in _STAGES:
                yield _STAGES[stage], found["test_accuracy"]


def _cell(content: Mapping[str, Any], draws: Mapping[tuple[str, int], str]) -> Iterator[Measured]:
    """The route of a cell; draws are those of the stages, by task and seed."""
    cell, run = content["cell"], content["runs"][0]
    task, routes = _CELLS.get((cell["task"], cell["backbone"]), ("", {}))
    draw, route = draws.get((task, cell["seed"])), routes.get((cell["algorithm"], cell["variant"]))
    if draw is not None and route is not None and cell["num_labeled"] == LABELS[task][1]:
        yield Measured(route, task, draw, run["num_test"], 100 * run["test_accuracy"])


def _teacher(row: Mapping[str, Any], draws: Mapping[tuple[str, int], str]) -> Iterator[Measured]:
    """A teacher, which is the same for the draws of its students."""
    task = _TASKS_OF_TEACHERS[row["task"]]
    for seed in row["seeds"]:
        if (draw := draws.get((task, seed))) is not None:
            yield Measured(_TEACHER, task, draw, row["test_examples"], 100 * row["test_accuracy"])


def _ensemble(row: dict[str, Any]) -> Iterator[tuple[str, float]]:
    # The probe of the same encoder, on the test examples of these rows.
    probe = next((name for name in ("model-probe", "mobilenet-128-probe") if name in row["members"]), None)
    if probe:
        yield PROBE, row["members"][probe]
    yield "ensemble: mean of the members", row["votes"]["mean_probabilities"]
    yield "ensemble: its student", row["student"]


_FILES: dict[str, Callable[[dict[str, Any]], Iterator[tuple[str, float]]]] = {
    "stages.json": _stages,
    "ensemble.json": _ensemble,
}


def measured(folder: Path) -> list[Measured]:
    """All runs of the routes that the results in a folder have; the first of equal ones."""
    found: dict[tuple[str, str, str, int], Measured] = {}
    for name, routes_in in _FILES.items():
        for row in json.loads((folder / name).read_text(encoding="utf-8"))["runs"]:
            draw, examples = str(row.get("draw") or row.get("draw_hash"))[:16], row.get("test_examples") or 0
            for route, accuracy in routes_in(row):
                run = Measured(route, row["task"], draw, examples, 100 * accuracy)
                found.setdefault((route, row["task"], draw, examples), run)
    stages = json.loads((folder / "stages.json").read_text(encoding="utf-8"))["runs"]
    draws = {(row["task"], row["seed"]): row["draw"] for row in stages if row["per_class"] == LABELS[row["task"]][0]}
    contents = [each for name in ("evidence", "evidence_teachers") for each in read_results(folder / name)]
    cells = [run for content in contents for run in _cell(content, draws)]
    teachers = [run for row in read(folder / "evidence_teachers.json") for run in _teacher(row, draws)]
    return [*found.values(), *cells, *teachers]


@dataclass(frozen=True)
class Route:
    """A route on one task: mean accuracy and gain over the probe in points, their standard errors, and draws."""

    accuracy: float
    accuracy_error: float | None
    draws: int
    gain: float
    gain_error: float | None


def route_of(runs: list[Measured], route: str, task: str) -> Route | None:
    """Sum up the runs of a route on one task; None without any."""
    probes = [run for run in runs if (run.route, run.task) == (PROBE, task)]
    pairs = [(run, _nearest(probes, run)) for run in runs if (run.route, run.task) == (route, task)]
    mine = [(run, probe) for run, probe in pairs if probe is not None]
    if not mine:
        return None
    # Of a draw that was tested on several sizes of the test set, the largest.
    best = {run.draw: (run, probe) for run, probe in sorted(mine, key=lambda pair: pair[0].examples)}
    values = [run.accuracy for run, _ in best.values()]
    gains = [run.accuracy - probe.accuracy for run, probe in best.values()]
    return Route(mean(values), _error(values), len(values), mean(gains), _error(gains))


def _nearest(probes: list[Measured], run: Measured) -> Measured | None:
    """The probe of the same draw: on as many test examples, or else on the most."""
    same = [probe for probe in probes if probe.draw == run.draw]
    return max(same, key=lambda probe: (probe.examples == run.examples, probe.examples), default=None)


def _error(values: list[float]) -> float | None:
    return stdev(values) / len(values) ** 0.5 if len(values) > 1 else None


def _names(runs: list[Measured]) -> list[str]:
    """The routes that were measured, from the simplest to the longest."""
    ensembles = ["ensemble: mean of the members", "ensemble: its student"]
    every = [*_STAGES.values(), *_TRAINED.values(), *ensembles, _TEACHER, *_TAUGHT.values()]
    return [name for name in every if any(route_of(runs, name, task) for task in TITLES)]


def table(runs: list[Measured]) -> str:
    """Markdown: accuracy ± standard error (draws), and the paired gain over the probe."""
    lines = []
    for name in _names(runs):
        cells = []
        for task in TITLES:
            found = route_of(runs, name, task)
            cells += ["", ""] if found is None else [_accuracy(found), "" if name == PROBE else _gain(found)]
        lines.append([name, *cells])
    header = ["route", *(text for title in TITLES.values() for text in (title, "over the probe"))]
    return markdown_table(header, lines)


def _accuracy(found: Route) -> str:
    error = "" if found.accuracy_error is None else f" ± {found.accuracy_error:.1f}"
    return f"{found.accuracy:.1f}{error} ({found.draws})"


def _gain(found: Route) -> str:
    return f"{found.gain:+.1f}" + ("" if found.gain_error is None else f" ± {found.gain_error:.1f}")


def picture(runs: list[Measured], path: Path) -> None:
    """Draw the gains over the probe, with bars of two standard errors."""
    from matplotlib.figure import Figure

    names = [name for name in _names(runs) if name != PROBE]
    figure = Figure(figsize=(11, 0.42 * len(names) + 1.4), layout="constrained")
    for axis, (task, title) in zip(figure.subplots(1, len(TITLES), sharey=True), TITLES.items(), strict=True):
        axis.axvline(0, color="black", linewidth=0.8, linestyle="--")
        for height, name in enumerate(names):
            found = route_of(runs, name, task)
            if found is not None:
                bar = None if found.gain_error is None else 2 * found.gain_error
                color = (
                    "gray" if bar is None or abs(found.gain) <= bar else "tab:green" if found.gain > 0 else "tab:red"
                )
                axis.errorbar(found.gain, height, xerr=bar, fmt="o", color=color, markersize=5)
        axis.set_title(title, fontsize=11)
        axis.grid(axis="x", alpha=0.25)
        axis.set_yticks(range(len(names)), [name.replace("`", "") for name in names])
        axis.set_ylim(len(names) - 0.5, -0.5)
    figure.supxlabel(
        "points over the probe of frozen features, with two standard errors (gray: not clear)", fontsize=10
    )
    figure.savefig(path, dpi=110)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["table", "picture"])
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder with the results files")
    parser.add_argument("--output", type=Path, default=PICTURE, help="of the picture")
    args = parser.parse_args(arguments)
    runs = measured(args.results)
    if args.command == "table":
        print(table(runs))
    else:
        picture(runs, args.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
