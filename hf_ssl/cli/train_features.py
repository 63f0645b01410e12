"""`hf-ssl train` on frozen features, for several labels and for numbers: labels alone, then labels and pool.

    encode ── probe ────────────── features ──────────── verdict
              labels alone         labels and pool

Which of the two is kept is decided by the labeled examples, each left out of the fits in turn. Nothing is fine-tuned
here, also with `--algorithm auto`: no left-out label could say whether that brought anything. The name of an algorithm
does it.
"""

import copy
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit
from transformers import EvalPrediction, set_seed

from ..config import SSLConfig
from ..features.answers import Answers, answers_of
from ..features.fitted import FITTED
from ..features.inputs import usual_tokens
from ..features.reading import Reading, read
from ..metrics import multi_label_metrics, tune_thresholds
from ..metrics.default import default_metrics
from ..model.loading import load_classifier
from ..problem_types import IN_WORDS, MULTI_LABEL
from ..report.measures import MEASURES
from ..report.results import kind_facts
from ..trainer import SSLTrainer
from ..training.start import search_duplicates
from .durations import duration
from .train_output import Output
from .train_stages import Request, card_facts, train_baseline

# How often the labeled examples are drawn again to say how far an estimate may be off.
_DRAWS = 200


def train_on_features(request: Request, output: Output, began: float) -> SSLTrainer:
    """Both fits; the trainer that is returned holds the model that is kept.

    Args:
        request: what was asked for.
        output: takes the rows of `results.json`.
        began: when the command began, as `time.perf_counter` tells it.

    Raises:
        ValueError, OSError: in one line, if data, model and settings do not fit together.
    """
    if request.arguments.calibrate:
        kind = IN_WORDS[request.data.summary.problem_type]
        raise ValueError(f"--calibrate must be left out for {kind}; it is for one class per example")
    fits = _Fits(request, output)
    probe, features = fits.fit("probe", with_pool=False), fits.fit("features", with_pool=True)
    if request.arguments.baseline:
        for lora in (False, True):
            output.add(*train_baseline(request, fits.settings, lora=lora))
    kept = "features" if fits.is_better(features, probe) else "probe"
    fits.keep(kept, features if kept == "features" else probe)
    output.verdict = fits.trainer.card.verdict = fits.verdict(kept, time.perf_counter() - began)
    return fits.trainer


@dataclass(frozen=True)
class _Fit:
    """One of the two fits, and how good it is.

    Args:
        values: the measure of the left-out labeled examples, then of as many that are drawn from them, `_DRAWS` times.
        tested: metrics on the test set; {} without one.
        thresholds: of several labels, as the model is saved with; None for numbers.
    """

    found: Answers
    values: np.ndarray
    tested: dict[str, float]
    thresholds: list[float] | None


class _Fits:
    def __init__(self, request: Request, output: Output):
        self.request, self.output = request, output
        data, settings = request.data, request.settings
        set_seed(settings["seed"])
        model = load_classifier(request.arguments.model, data.summary)
        self.settings = {**settings, "algorithm": "supervised"}
        # Not to be trained: it prepares datasets, and evaluates and saves the model.
        self.trainer = self._trainer(model)
        if data.summary.modality == "text" and settings.get("max_length") is None:
            self.settings["max_length"] = usual_tokens(self.trainer.unlabeled_dataset, self.trainer.views)
            self.trainer = self._trainer(model)
        output.settings = self.settings | {"algorithm": settings["algorithm"]}
        self.measure = MEASURES[data.summary.problem_type]
        self.metrics = default_metrics(self.trainer.data)
        self.reading = self._read()

    def _trainer(self, model: Any) -> SSLTrainer:
        data = self.request.data
        return SSLTrainer(
            model,
            SSLConfig(**copy.deepcopy(self.settings)),
            train_dataset=data.labeled,
            unlabeled_dataset=data.unlabeled,
            eval_dataset=data.test,
            processing_class=self.request.processor,
        )

    def _read(self) -> Reading:
        trainer = self.trainer
        parts: list[Any] = [trainer.train_dataset, trainer.unlabeled_dataset, trainer.eval_dataset]
        total = sum(len(part) for part in parts if part is not None)
        self._say(f"Encoding {total:,} examples with the frozen model, once; what was encoded before is kept.")
        tests = {} if trainer.eval_dataset is None else {"": trainer.eval_dataset}
        if self.request.is_main:
            seconds = trainer.args.duplicate_check_seconds
            data = trainer.train_dataset, trainer.unlabeled_dataset, trainer.eval_dataset, trainer.data
            trainer.duplicates = search_duplicates(*data, view_names=["weak"], seconds=seconds)
        given = trainer.model, trainer.train_dataset, trainer.unlabeled_dataset, trainer.data
        return read(*given, trainer.processing_class, trainer.args, evaluation=tests)

    def fit(self, name: str, *, with_pool: bool) -> _Fit:
        """Fit labels alone, or labels and pool; a row of `results.json` says how good it is."""
        start = time.perf_counter()
        found = answers_of(self.reading, with_pool=with_pool)
        seconds = time.perf_counter() - start
        labels = self.reading.labels[self.reading.known]
        several = self.trainer.data.problem_type == MULTI_LABEL
        thresholds = thresholds_of(found, labels) if several else None
        tested, values = self._tested(found, thresholds), self._estimates(found, labels)
        row = {
            "algorithm": name,
            "seed": self.trainer.args.seed,
            "test_accuracy": None,
            "best_accuracy": None,
            "best_split": "test" if tested else None,
            **kind_facts(self.trainer.data.problem_type, tested, tested, prefix=""),
            "num_labeled": len(self.trainer.train_dataset),
            "num_unlabeled": len(self.trainer.unlabeled_dataset),
            "steps": 0,
            "seconds": round(seconds, 1),
            "mask_ratio": None,
            "pseudo_label_accuracy": None,
            "kept": False,
            "estimate": float(values[0]),
            "estimate_error": _spread(values[1:]),
        }
        self.output.add(row, [])
        if self.request.is_main:
            self.output.write_results()
            value = row[f"test_{self.measure.name}"]
            shown = "" if value is None else f", test {self.measure.title} {self.measure.text([value])}"
            self._say(f"{name}: {duration(seconds)}{shown}")
        return _Fit(found, values, tested, thresholds)

    def _tested(self, found: Answers, thresholds: list[float] | None) -> dict[str, float]:
        """Metrics on the test set; {} without one."""
        if "" not in self.reading.tests:
            return {}
        _, head_features, labels = self.reading.tests[""]
        logits = found.head.logits(head_features)
        if thresholds is not None:
            return multi_label_metrics(expit(logits), labels, thresholds)
        return self.metrics(EvalPrediction(logits, labels))

    def _estimates(self, found: Answers, labels: np.ndarray) -> np.ndarray:
        """The measure of the left-out labeled examples, then of as many that are drawn from them with replacement."""
        draws = [np.arange(len(labels))]
        generator = np.random.default_rng(0)
        draws += [generator.integers(len(labels), size=len(labels)) for _ in range(_DRAWS)]
        measured = (self.metrics(EvalPrediction(found.held_out[rows], labels[rows])) for rows in draws)
        return np.array([metrics[self.measure.name] for metrics in measured])

    def is_better(self, features: _Fit, probe: _Fit) -> bool:
        """Whether the pool has brought something, by the left-out labels; if it changes nothing it is taken."""
        self.differences = features.values - probe.values
        return bool(self.differences[0] >= 0) if self.measure.greater_is_better else bool(self.differences[0] <= 0)

    def keep(self, name: str, fit: _Fit) -> None:
        """Put the head into the model, and describe it instead of a training."""
        trainer = self.trainer
        model = trainer.accelerator.unwrap_model(trainer.model)
        fit.found.head.write(model)
        next(row for row in self.output.runs if row["algorithm"] == name)["kept"] = True
        if fit.thresholds is not None:
            model.config.label_thresholds = fit.thresholds
        problem = trainer.algorithm.problem
        trainer.algorithm = FITTED[name](**{key: getattr(problem, key) for key in vars(problem)})
        trainer.algorithm_name = name
        trainer.card = card_facts(self.request)
        trainer.card.stages = self.output.runs
        if fit.tested:
            trainer.log({f"eval_{key}": value for key, value in fit.tested.items()})

    def verdict(self, kept: str, seconds: float) -> str:
        """Which fit was kept, and why."""
        difference, error = self.differences[0], _spread(self.differences[1:])
        shown = f"{difference:+.3g} ± {error:.2g}"
        if self.measure.is_share:
            shown = f"{100 * difference:+.1f} ± {100 * error:.1f} points"
        known = int(self.reading.known.sum())
        return (
            f"Kept: {kept}. With {known:,} labeled examples left out in turn, the pool changes the "
            f"{self.measure.title} of labels alone by {shown}. All of it took {duration(seconds)}."
        )

    def _say(self, line: str) -> None:
        if self.request.is_main:
            print(line, flush=True)


def _spread(values: np.ndarray) -> float:
    """The standard deviation of drawn estimates, without those that are NaN: a draw may have no example with a label.

    Example:
        >>> _spread(np.array([1.0, np.nan, 3.0]))
        1.0
    """
    return float(np.nanstd(values))


def thresholds_of(found: Answers, labels: np.ndarray) -> list[float]:
    """The probability [C] from which on an example has each label, for the model's configuration.

    Those of the best F1 of left-out examples; of a label with fewer than five positives or negatives, the one at which
    it is as frequent in the pool as among the labeled examples.

    Args:
        found: what was fitted.
        labels: of the labeled examples, [L, C].
    """
    assert found.thresholds is not None, "labels have thresholds"
    chosen = tune_thresholds(expit(found.held_out), labels, otherwise=found.thresholds)
    return [round(value, 6) for value in chosen]
