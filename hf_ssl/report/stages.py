"""The stages of `hf-ssl train --algorithm auto` in words: a table, and the verdict in one or two sentences."""

from collections.abc import Mapping, Sequence
from typing import Any

from .measures import Measure, measure_of, tested
from .tables import markdown_table, table

TITLES = {
    "probe": "probe (labels alone, frozen features)",
    "supervised": "supervised (labels alone, fine-tuned)",
    "supervised_lora": "supervised_lora (labels alone, adapters)",
    "features": "features (labels and pool, frozen features)",
}
_ESTIMATE = "estimate from labels"


def stages_table(runs: Sequence[Mapping[str, Any]], markdown: bool = False) -> str:
    """One row per stage: how right it is, on the test set and as far as the labels tell, and which one is the model.

    Args:
        runs: rows of `results.json`, with "kept" in one of them. A "title" is shown instead of the algorithm.
        markdown: as a table of Markdown instead of one for the screen.

    Example:
        >>> row = {"algorithm": "features", "test_accuracy": 0.852, "seconds": 31.0, "estimate": 0.8}
        >>> print(stages_table([{**row, "estimate_error": 0.061, "kept": True}]))
        stage                                        test accuracy  estimate from labels  seconds  kept
        -------------------------------------------  -------------  --------------------  -------  ----
        features (labels and pool, frozen features)         85.2 %              80 ± 6 %       31   yes
    """
    header, rows = stage_rows(runs)
    return (markdown_table if markdown else table)(header, rows)


def stage_rows(runs: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Header and cells of that table; arguments as in `stages_table`."""
    # Only for stages on frozen features are labels held out.
    estimated = not runs or any("estimate" in run for run in runs)
    several = len({run.get("seed") for run in runs}) > 1
    measure = measure_of(runs)
    header = ["stage", f"test {measure.title}", *[_ESTIMATE] * estimated, "seconds", "kept"]
    rows, is_staged = [], any(run["algorithm"] in ("probe", "features") for run in runs)
    for run in runs:
        name = run["algorithm"]
        value = tested(run)
        seconds = "-" if run.get("seconds") is None else f"{run['seconds']:.0f}"
        title = run.get("title") or TITLES.get(name, f"{name} (fine-tuned from there)" if is_staged else name)
        title += f", seed {run['seed']}" if several and "seed" in run else ""
        estimate = [_estimate(run, measure)] if estimated else []
        rows.append(
            [
                title,
                measure.text([] if value is None else [value]),
                *estimate,
                seconds,
                "yes" if run.get("kept") else "",
            ]
        )
    return header, rows


def _estimate(run: Mapping[str, Any], measure: Measure) -> str:
    if run.get("estimate") is None:
        return "-"
    if not measure.is_share:
        return f"{run['estimate']:.4g} ± {run['estimate_error']:.2g}"
    return f"{100 * run['estimate']:.0f} ± {100 * run['estimate_error']:.0f} %"


def verdict(runs: Sequence[Mapping[str, Any]], found: Any, agreement: Any) -> str:
    """Which stage was kept, and why, with what is uncertain about it.

    Args:
        runs: rows of `results.json`.
        found: `hf_ssl.features.choose.Comparison` of probe and features.
        agreement: `hf_ssl.features.choose.Agreement` of fine-tuned model and features; None if there was no
            fine-tuning.
    """
    kept = next(run for run in runs if run.get("kept"))
    parts = [f"Kept: {kept['algorithm']}."]
    if found.difference is None:
        parts.append(
            "No label could be held out, so the pool was trusted: on data that were looked at it brought "
            f"{_points(found.expected, found.expected_error)} to labels alone."
        )
    else:
        parts.append(
            f"With {found.second.examples} labels held out in turn, the pool changes labels alone by "
            f"{_points(found.difference, found.error)}, {_says(found)}."
        )
    if agreement is not None:
        share = f"{100 * agreement.share:.0f} % of the pool"
        parts.append(
            f"Fine-tuning agrees with its start on {share}, so it is kept."
            if agreement.holds
            else f"Fine-tuning agrees with its start on only {share}, so it was given up."
        )
    alone = next((run for run in runs if run["algorithm"] == "probe"), None)
    if alone is not None and alone["test_accuracy"] is not None and kept is not alone:
        gain = kept["test_accuracy"] - alone["test_accuracy"]
        parts.append(f"On the test set it is {100 * gain:+.1f} points from the probe of labels alone.")
    return " ".join(parts)


def _says(found: Any) -> str:
    """What the labels that were held out in turn say of the pool; few of them weigh less than what was seen before."""
    if not found.second_is_better:
        return "which speaks against it"
    if found.difference > 0:
        return "which supports it"
    expected = _points(found.expected, found.expected_error)
    return (
        "which is too uncertain to speak against it: together with what it brought on data that were looked at, "
        f"{expected} are expected"
    )


def _points(value: float, error: float) -> str:
    return f"{100 * value:+.1f} ± {100 * error:.1f} points"
