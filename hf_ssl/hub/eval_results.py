"""The results of a model on a task of the benchmark, as the Hub reads them from `.eval_results/` beside the card.

The model index in the card says the same of any evaluation dataset. These files are for benchmark datasets: the Hub
shows their entries on the model's page and gathers them on the dataset's, whose `eval.yaml` names the tasks.
"""

from pathlib import Path

import yaml
from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

from .._version import __version__
from ..files import atomic_write
from ..report.run import RunFacts
from .card_facts import ModelFacts
from .evaluations import Evaluations, evaluations, trained_on_evaluation
from .provenance import is_dataset_id
from .upload import EVAL_RESULTS


def benchmark_entries(run: RunFacts, model: ModelFacts) -> list[EvalResultEntry]:
    """One entry per benchmark task that the model was trained and evaluated on; empty if there is none.

    The task is the configuration of the dataset repository, such as `labels40_seed2`. There is an entry only if
    labeled examples, pool (if any) and test examples are the whole splits `labeled`, `unlabeled` and `test` of that
    configuration, loaded from the Hub, and only for the weights that the model has. Nothing is said of local folders,
    of a part of a split, or of an evaluation some steps before the end.

    Args:
        run: how the model was trained; its log holds the measurements.
        model: where it and its data come from.

    Returns:
        entries whose value is the accuracy, between 0 and 1.
    """
    return [
        EvalResultEntry(
            dataset_id=str(found.source.repository),
            task_id=str(found.source.config),
            value=round(found.saved["accuracy"], 6),
            dataset_revision=found.source.revision,
            notes=_notes(run),
        )
        for found in evaluations(run, model.evaluation)
        if _is_benchmark(found, run, model)
    ]


def _is_benchmark(found: Evaluations, run: RunFacts, model: ModelFacts) -> bool:
    test = found.source
    if test.repository is None or not is_dataset_id(test.repository) or test.draw is None:
        return False
    used = {"test": test, "labeled": model.labeled, **({"unlabeled": model.unlabeled} if run.has_pool else {})}
    same = {(source.repository, source.config, source.revision) for source in used.values()}
    evaluated = run.state.best_global_step if run.holds_best else run.state.global_step
    return (
        len(same) == 1
        and all(source.split == split for split, source in used.items())
        and "accuracy" in found.saved
        and found.saved["step"] == evaluated
    )


def _notes(run: RunFacts) -> str:
    """How the value came about, in one line."""
    weights = "last weights"
    if run.holds_best:
        weights = f"best weights, chosen by {run.args.metric_for_best_model} during training"
    notes = f"accuracy of the {weights}; {run.algorithm_name}, seed {run.args.seed}, hf-ssl {__version__}"
    return notes + ("; some test examples were in the training data" if trained_on_evaluation(run) else "")


def write_eval_results(folder: str | Path, run: RunFacts, model: ModelFacts) -> None:
    """Write `EVAL_RESULTS` below a model's folder, or delete an earlier one if there is nothing to say.

    Args:
        folder: that holds the model and its card.
        run, model: as in `benchmark_entries`.
    """
    path, entries = Path(folder, EVAL_RESULTS), benchmark_entries(run, model)
    if not entries:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(exist_ok=True)
    with atomic_write(path) as temporary:
        temporary.write_text(
            yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False, allow_unicode=True), encoding="utf-8"
        )
