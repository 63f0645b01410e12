"""The tables of the evidence in README.md, from the files of the cells of `evidence.yaml` and `evidence_upper.yaml`.

    python examples/benchmarks/evidence_report.py algorithms    # every algorithm from a new head
    python examples/benchmarks/evidence_report.py starts        # from the features' head, beside the new one

`hf-ssl benchmark report` shows the same cells as errors, with ranks, tests, costs and a page.
"""

import argparse
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from short_runs import standard_error

from hf_ssl.algorithms import ALGORITHMS
from hf_ssl.benchmark.grid import read_results
from hf_ssl.report.tables import markdown_table

RESULTS = Path(__file__).parent / "results" / "evidence"
BASELINE, FITTED = "supervised", "features"
# (Task, backbone) of the cells -> heading; in this order.
COLUMNS = {
    ("cifar10_5000", "mobilenetv1-025"): "CIFAR-10",
    ("ag_news_4000", "minilm-mean"): "AG News",
    ("ag_news_4000", "minilm-mean-upper"): "AG News, upper layers",
    ("speech_commands_3156", "speech-embedding"): "Speech Commands",
    ("speech_commands_3156", "speech-embedding-upper"): "Speech Commands, upper layers",
}


@dataclass
class Runs:
    """Test accuracies in percent of one algorithm in one column, by seed.

    Args:
        new: from a new head.
        fitted: from the features' head.
    """

    new: dict[int, float] = field(default_factory=dict)
    fitted: dict[int, float] = field(default_factory=dict)


def collect(records: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], dict[str, Runs]]:
    """Column -> algorithm -> its runs, of the contents of cells."""
    found: dict[tuple[str, str], dict[str, Runs]] = {key: {} for key in COLUMNS}
    for record in records:
        cell = record["cell"]
        runs = found[cell["task"], cell["backbone"]].setdefault(cell["algorithm"], Runs())
        mine = runs.fitted if cell["variant"] == FITTED else runs.new
        mine[cell["seed"]] = 100 * record["runs"][0]["test_accuracy"]
    return found


def paired(ours: Mapping[int, float], theirs: Mapping[int, float]) -> list[float]:
    """Differences over the seeds that both have."""
    return [ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys())]


def algorithms_table(found: Mapping[tuple[str, str], Mapping[str, Runs]]) -> str:
    """Markdown: accuracy ± standard deviation (draws, if not three), with ▲ or ▼ beside a clear difference.

    A difference to labels alone is clear if it is paired over at least three draws and exceeds two standard errors.
    """
    lines = []
    for name in ALGORITHMS:
        cells = [_cell(found[key].get(name), found[key].get(BASELINE), name) for key in COLUMNS]
        if any(cells):
            lines.append([f"`{name}`", *cells])
    return markdown_table(["from a new head", *COLUMNS.values()], lines)


def _cell(runs: Runs | None, base: Runs | None, name: str) -> str:
    if runs is None or not runs.new:
        return ""
    gains = paired(runs.new, base.new) if base is not None and name != BASELINE else []
    return f"{_spread(list(runs.new.values()))}{_sign(gains)}"


def _sign(gains: list[float]) -> str:
    if len(gains) < 3 or abs(mean(gains)) <= 2 * standard_error(gains):
        return ""
    return " ▲" if mean(gains) > 0 else " ▼"


def _spread(values: list[float]) -> str:
    spread = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
    return f"{mean(values):.1f}{spread}" + ("" if len(values) == 3 else f" ({len(values)})")


def starts_table(found: Mapping[tuple[str, str], Mapping[str, Runs]]) -> str:
    """Markdown: accuracy from the features' head (worst draw), and its paired gain over a new head.

    Both with what there is of three draws; the gain with its standard error.
    """
    lines = []
    for name in ALGORITHMS:
        cells = [_start(found[key].get(name, Runs())) for key in COLUMNS]
        if any(cells):
            lines.append([f"`{name}`", *cells])
    return markdown_table(["from the features' head", *COLUMNS.values()], lines)


def _start(runs: Runs) -> str:
    gains = paired(runs.fitted, runs.new)
    if not gains:
        return ""
    values = list(runs.fitted.values())
    error = f" ± {standard_error(gains):.1f}" if len(gains) > 1 else ""
    count = "" if len(gains) == 3 else f" ({len(gains)})"
    return f"{mean(values):.1f} (at least {min(values):.1f}): {mean(gains):+.1f}{error}{count}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=("algorithms", "starts"))
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the cells")
    args = parser.parse_args(arguments)
    found = collect(read_results(args.results))
    print(algorithms_table(found) if args.table == "algorithms" else starts_table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
