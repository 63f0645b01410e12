"""`hf-ssl train --algorithm auto`: every stage builds on the one before, and the better model is kept.

    encode ── probe ────────────── features ─────────── fine-tuning, as far as the time allows ── verdict
              labels alone,        labels and pool,     from the head that was fitted,
              on frozen features   on frozen features   upper layers on a CPU

`--algorithm features` stops before the fine-tuning. Which model is kept is decided by labels that are held out in turn
and by the pool (`hf_ssl.features.choose`), never by the test set, which is only reported.
"""

import copy
import textwrap
import time
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import EvalPrediction, TrainerState, set_seed

from ..algorithms import SSLAlgorithm, get_algorithm
from ..batches.collators import MISSING_LABEL
from ..config import SSLConfig
from ..features.choose import Agreement, Comparison, Estimate, compare
from ..features.distillation import FeatureDistillation
from ..features.encoding import from_first_process
from ..features.fitted import FITTED
from ..features.inputs import usual_tokens
from ..features.picking import PICK_ORDER
from ..features.reading import LinearHead, Reading, head_for, read
from ..features.start import labels_alone, labels_and_pool
from ..metrics import RunningMetrics, class_recalls, classification_metrics
from ..model.forward import learns_batch_norm
from ..model.head import feature_size, find_head
from ..model.loading import load_classifier
from ..report.inspection.record import Answers, stage_predictions
from ..report.results import result_of, size_facts
from ..report.stages import verdict
from ..trainer import SSLTrainer
from ..training.budget import FEWEST_STEPS, TRIAL_STEPS, planned_steps, step_seconds
from ..training.freezing import train_upper
from ..training.pool_changes import CountChanges
from ..training.progress_callback import SSLProgressCallback
from ..training.recommended import LORA_RATE, recommended
from .durations import duration, seconds_of
from .train_calibration import add_carried_temperature, add_temperatures, calibration_text, divide_logits, scores_of
from .train_doubts import report_doubts
from .train_imbalance import correctable
from .train_output import Output
from .train_pace import steps_asked_for
from .train_stages import Request, card_facts, train_baseline

# By default fine-tuning takes as long as the stages before it, and at least this many seconds.
_LEAST_SECONDS = 30.0
# Part of the time that is planned for: steps take longer than the first ones, as processors warm up.
_SURE = 0.85
# Examples of the pool on which two models are compared.
_COMPARED = 2_000


@dataclass
class Stage:
    """A finished stage.

    Args:
        row: for `results.json`.
        probabilities: [N, C] of labels and pool; None if the whole model was trained.
        head: the head that gives them; None likewise.
        logits: [N, C] of the test set; None without one.
    """

    row: dict[str, Any]
    probabilities: np.ndarray | None = None
    head: LinearHead | None = None
    logits: np.ndarray | None = None


def train_in_stages(request: Request, output: Output, given: Collection[str], began: float) -> SSLTrainer:
    """All stages; the trainer that is returned holds the model that is kept.

    Args:
        request: what was asked for.
        output: takes the rows of `results.json`.
        given: names of the settings that the user chose; the others are those of `hf_ssl.training.recommended`.
        began: when the command began, as `time.perf_counter` tells it.

    Raises:
        ValueError, OSError: in one line, if data, model and settings do not fit together.
    """
    stages = _Stages(request, output, given, began)
    stages.read()
    probe, features = stages.fit()
    found = stages.compare(probe, features)
    start = features if found.second_is_better else probe
    if request.arguments.baseline:
        stages.baselines()
    kept, agreement = start, None
    if request.settings["algorithm"] == "auto" and (tuned := stages.fine_tune(start)) is not None:
        agreement = stages.agreement(start, tuned, found)
        kept = tuned if agreement.holds else start
    stages.keep(kept, start)
    stages.trainer.card.verdict = output.verdict = verdict(output.runs, found, agreement)
    stages.note(found, probe, features, *([kept] if kept.head is None else []))
    return stages.trainer


class _Stages:
    """The stages, in the order of the methods."""

    def __init__(self, request: Request, output: Output, given: Collection[str], began: float):
        self.request, self.output, self.began = request, output, began
        data, settings = request.data, request.settings
        set_seed(settings["seed"])
        model = load_classifier(request.arguments.model, data.summary)
        size = sum(parameter.numel() for parameter in model.parameters())
        self.advice = correctable(recommended(data.summary.modality, size), settings)
        advised = {name: value for name, value in self.advice.settings.items() if name not in given}
        # The fine-tuning alone is corrected for long tails; frozen features have class shares of their own.
        self.correction = {name: settings[name] for name in ("imbalance", "imbalance_kwargs")}
        self.settings = {**settings, **advised, "algorithm": "supervised", **dict.fromkeys(self.correction)}
        self.budget = None if request.arguments.time_budget is None else seconds_of(request.arguments.time_budget)
        # Labels that were picked do not tell how frequent classes are.
        picked = PICK_ORDER in data.labeled.column_names
        self.fit_both = partial(labels_and_pool, class_balance="pool" if picked else "auto")
        self.plans_steps = not {"max_steps", "num_train_epochs"} & set(given)
        # Not to be trained: it prepares datasets, and evaluates and saves the model.
        self.trainer = self._trainer(model)
        self.output.settings = self.settings | {"algorithm": settings["algorithm"], **self.correction}
        if data.summary.modality == "text" and "max_length" not in given:
            tokens = usual_tokens(self.trainer.unlabeled_dataset, self.trainer.views)
            self.settings["max_length"] = self.output.settings["max_length"] = tokens
            self.trainer = self._trainer(model)

    # ---- On frozen features ----

    def read(self) -> None:
        """Encode all datasets."""
        trainer = self.trainer
        parts: list[Any] = [trainer.train_dataset, trainer.unlabeled_dataset, trainer.eval_dataset]
        total = sum(len(part) for part in parts if part is not None)
        self._say(f"Encoding {total:,} examples with the frozen model, once; what was encoded before is kept.")
        if trainer.args.open_set is not None:
            trainer.check_open_set()
        tests = {} if trainer.eval_dataset is None else {"": trainer.eval_dataset}
        given = trainer.model, trainer.train_dataset, trainer.unlabeled_dataset, trainer.data
        start = time.perf_counter()
        self.reading: Reading = read(*given, trainer.processing_class, trainer.args, evaluation=tests)
        self.per_example = (time.perf_counter() - start) / total
        if self.request.is_main:
            report_doubts(trainer, self.reading, self.output.folder)
        self.all_read = self.reading
        if trainer.args.open_set is not None:
            self.reading = trainer.look_for_foreign(self.reading)
            self._say(f"{trainer.open_set}.")

    def fit(self) -> tuple[Stage, Stage]:
        """The probe of labels alone, and the classifier of labels and pool."""
        given = self.reading.features, self.reading.labels, self.reading.num_classes
        start = time.perf_counter()
        probe = self._fitted("probe", labels_alone(*given), start)
        start = time.perf_counter()
        return probe, self._fitted("features", self.fit_both(*given), start)

    def _fitted(self, name: str, probabilities: np.ndarray, start: float) -> Stage:
        reading, trainer = self.reading, self.trainer
        head = head_for(reading.head_features, probabilities)
        logits, accuracy = None, None
        sizes: dict[str, Any] = {}
        if "" in reading.tests:
            _, head_features, labels = reading.tests[""]
            logits = head.logits(head_features)
            accuracy = float((logits.argmax(axis=1) == labels).mean())
            sizes = self._size_facts(logits, labels)
        in_pool = reading.labels < 0
        right = None
        # Of foreign examples no pseudo-label is right, as in training.
        if reading.hidden_labels is not None and (known := reading.hidden_labels != MISSING_LABEL).any():
            right = float((probabilities[in_pool].argmax(axis=1) == reading.hidden_labels)[known].mean())
        row = {
            "algorithm": name,
            "seed": trainer.args.seed,
            "test_accuracy": accuracy,
            "best_accuracy": accuracy,
            "best_split": None if accuracy is None else "test",
            "num_labeled": len(trainer.train_dataset),
            "num_unlabeled": len(trainer.unlabeled_dataset),
            "steps": 0,
            "seconds": round(time.perf_counter() - start, 1),
            "mask_ratio": None if name == "probe" else 1.0,
            "pseudo_label_accuracy": None if name == "probe" else right,
            "kept": False,
            **({} if trainer.open_set is None else trainer.open_set.row()),
            **sizes,
        }
        self._add(row)
        return Stage(row, probabilities, head, logits)

    def _size_facts(self, logits: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
        """How classes of all sizes are recognized, for `results.json`."""
        data = self.request.data.summary
        counts = np.bincount(data.labels, minlength=len(data.label_names))
        metrics = classification_metrics(logits, labels, counts)
        recalls = class_recalls(logits.argmax(axis=1), labels, len(counts)).tolist()
        return size_facts(data.label_names, counts, metrics, recalls)

    def compare(self, probe: Stage, features: Stage) -> Comparison:
        """What the labels say, if they are held out in turn."""
        reading = self.reading
        found = compare(
            reading.features,
            reading.labels,
            reading.num_classes,
            labels_alone,
            self.fit_both,
            reading.head_features,
        )
        for stage, estimate in ((probe, found.first), (features, found.second)):
            _estimated(stage.row, estimate)
        add_temperatures(found, (probe.row, features.row), (probe.logits, features.logits), reading.test_labels)
        return found

    # ---- Fine-tuning ----

    def fine_tune(self, start: Stage) -> Stage | None:
        """Train from the fitted head for as long as there is time; None if there is too little."""
        checkpoint = self.request.settings["resume_from_checkpoint"]
        model = self._start_model(start)
        steps = self._steps(model, start, checkpoint)
        self.output.settings["max_steps"] = steps
        if steps == 0:
            return None
        began = time.perf_counter()
        self.tuning = self._tuner(model, start, max_steps=steps)
        self.tuning.add_callback(CountChanges(self.tuning))
        if not self.tuning.args.disable_tqdm:
            self._say("")
        self.tuning.train(resume_from_checkpoint=checkpoint)
        logits = self._evaluate(self.tuning)
        row = {**result_of(self.tuning.run_facts(), time.perf_counter() - began), "kept": False}
        self._add(row, self.tuning.state.log_history)
        return Stage(row, logits=logits)

    def baselines(self) -> None:
        """Fine-tune on the labels alone, from a new head, all weights and then adapters with a higher rate."""
        rate = self.settings["learning_rate"]
        settings = {
            **self.settings,
            "max_steps": self.settings["max_steps"] if not self.plans_steps else self.advice.most_steps,
        }
        self._add(*train_baseline(self.request, settings))
        try:
            faster = {**settings, "learning_rate": LORA_RATE * rate}
            self._add(*train_baseline(self.request, faster, lora=True))
        except ValueError as error:
            self._say(f"No baseline with adapters: {error}")

    def _start_model(self, start: Stage) -> nn.Module:
        assert start.head is not None, "a stage of features has a head"
        model = copy.deepcopy(self.trainer.accelerator.unwrap_model(self.trainer.model))
        start.head.write(model)
        if self.trainer.args.device.type == "cpu":
            train_upper(model, self.advice.upper)
        return model

    def _tuner(self, model: nn.Module, start: Stage, **changes: Any) -> SSLTrainer:
        """The trainer of the fine-tuning."""
        advice = self.advice
        if advice.algorithm != "distillation":
            chosen = {"algorithm": advice.algorithm, "algorithm_kwargs": advice.algorithm_kwargs, **self.correction}
            return self._trainer(model, **{**chosen, **changes})
        # No name may stand beside an object; the saved settings get it back.
        custom = self._distillation(model, start)
        trainer = self._trainer(model, custom, **{"algorithm": SSLConfig.algorithm, **changes})
        trainer.algorithm_name = trainer.args.algorithm = advice.algorithm
        trainer.args.imbalance, trainer.args.imbalance_kwargs = self.correction.values()
        return trainer

    def _distillation(self, model: nn.Module, start: Stage) -> SSLAlgorithm:
        """It learns what the start says of the pool."""
        assert start.probabilities is not None, "a stage of features has probabilities"
        args = self.trainer.args
        size = args.per_device_train_batch_size * args.world_size * args.gradient_accumulation_steps
        # Broken examples have no probabilities, and are replaced by others when batches are made.
        targets = np.full(
            (len(self.trainer.unlabeled_dataset), self.reading.num_classes), 1 / self.reading.num_classes
        )
        targets[self.reading.pool_rows] = start.probabilities[self.reading.labels < 0]
        return get_algorithm(
            FeatureDistillation,
            targets=targets,
            **self.advice.algorithm_kwargs,
            **self.correction,
            class_counts=np.bincount(
                self.reading.labels[self.reading.labels >= 0], minlength=self.reading.num_classes
            ),
            num_classes=self.reading.num_classes,
            num_labeled=len(self.trainer.train_dataset),
            num_unlabeled=len(self.trainer.unlabeled_dataset),
            feature_size=feature_size(find_head(model)),
            labeled_batch_size=size,
            unlabeled_batch_size=size * self.settings["unlabeled_batch_ratio"],
            unsupervised_weight=self.settings["unsupervised_weight"],
            modality=self.request.data.summary.modality,
        )

    def _steps(self, model: nn.Module, start: Stage, checkpoint: str | None) -> int:
        """How many steps to train: as the user says, as an interrupted run had planned, or as fit into the time."""
        if not self.plans_steps:
            return steps_asked_for(self.trainer.args, len(self.trainer.unlabeled_dataset))
        if learns_batch_norm(model):
            self._say("No fine-tuning: it brought nothing to models with batch normalization; --max-steps N does it.")
            return 0
        if checkpoint is not None:
            return TrainerState.load_from_json(f"{checkpoint}/trainer_state.json").max_steps
        spent = time.perf_counter() - self.began
        left = max(spent, _LEAST_SECONDS) if self.budget is None else self.budget - spent
        if left <= 0:
            self._say(f"No fine-tuning: the stages before it took {duration(spent)}, all of --time-budget.")
            return 0
        quiet = {"save_strategy": "no", "disable_tqdm": True, "duplicate_check_seconds": 0, "report_to": "none"}
        quiet |= {"eval_strategy": "no", "logging_strategy": "no", "zero_mask_warning_steps": 0, "push_to_hub": False}
        trial = self._tuner(copy.deepcopy(model), start, max_steps=TRIAL_STEPS, **quiet)
        trial.remove_callback(SSLProgressCallback)
        per_step = step_seconds(trial)
        del trial
        # The trial took of it, and the test set and a part of the pool are classified at the end.
        left -= time.perf_counter() - self.began - spent
        test: Any = self.trainer.eval_dataset
        at_the_end = len(test or ()) + min(len(self.trainer.unlabeled_dataset), _COMPARED)
        left = _SURE * (left - at_the_end * self.per_example)
        steps = from_first_process(planned_steps(left, per_step, self.advice.most_steps))
        if steps == 0:
            needed = duration(FEWEST_STEPS * per_step)
            self._say(f"No fine-tuning: {FEWEST_STEPS} steps take {needed}, and {duration(max(left, 0))} are left.")
        else:
            limit = "--time-budget" if self.budget is not None else "by default as long as all before it"
            self._say(f"Fine-tuning: {steps:,} steps of {per_step:.2g} s, {duration(steps * per_step)} ({limit}).")
        return steps

    def _evaluate(self, trainer: SSLTrainer) -> np.ndarray | None:
        """Logits of the test set, whose metrics are logged."""
        if trainer.eval_dataset is None:
            return None
        found = trainer.predict(trainer.eval_dataset, metric_key_prefix="eval")
        trainer.log(dict(found.metrics or {}))
        return scores_of(found)

    def agreement(self, start: Stage, tuned: Stage, found: Comparison) -> Agreement:
        """How far the fine-tuned model agrees with its start on a part of the pool; its temperature is from there."""
        assert start.probabilities is not None and start.head is not None, "a stage of features has both"
        in_pool = np.flatnonzero(self.reading.labels < 0)
        chosen = np.sort(np.random.default_rng(0).permutation(len(in_pool))[:_COMPARED])
        logits = scores_of(self.tuning.predict(self._pool(chosen)))
        before = start.head.logits(self.reading.head_features[in_pool[chosen]])
        add_carried_temperature(tuned.row, logits, start.row, before, tuned.logits, self.reading.test_labels)
        estimate = found.second if found.second_is_better else found.first
        classes = start.probabilities[in_pool[chosen]].argmax(axis=1)
        return Agreement.of(classes, logits.argmax(axis=1), estimate.value)

    def _pool(self, chosen: np.ndarray) -> list[dict[str, Any]]:
        """Some of the pool's readable rows, prepared, without labels."""
        pool, column = self.trainer.unlabeled_dataset, self.request.data.summary.label_column
        rows = (pool[int(row)] for row in self.reading.pool_rows[chosen])
        return [{key: value for key, value in row.items() if key != column} for row in rows]

    # ---- The model that is kept ----

    def keep(self, kept: Stage, start: Stage) -> None:
        """Mark it, and let the trainer hold it."""
        kept.row["kept"] = True
        if kept.head is None:
            self.trainer = self.tuning
        else:
            self._hold_fitted(kept)
        self.trainer.card = card_facts(self.request)
        self.trainer.card.stages = self.output.runs
        if self.request.arguments.calibrate:
            divide_logits(
                self.trainer, kept.row["temperature"], self._pool(np.arange(min(8, len(self.reading.pool_rows))))
            )
        self.trainer.card.calibration = calibration_text(kept.row, self.trainer.temperature is not None)
        self._say(f"\n{textwrap.fill(self.trainer.card.calibration, 100)}")

    def _hold_fitted(self, kept: Stage) -> None:
        """Put the fitted head into the pretrained model, and describe it instead of a training."""
        assert kept.head is not None, "a stage of features has a head"
        trainer, reading = self.trainer, self.reading
        kept.head.write(trainer.accelerator.unwrap_model(trainer.model))
        name = kept.row["algorithm"]
        problem = trainer.algorithm.problem
        trainer.algorithm = FITTED[name](**{name: getattr(problem, name) for name in vars(problem)})
        trainer.algorithm_name = name
        if kept.logits is not None:
            labels = reading.tests[""][2]
            loss = torch.nn.functional.cross_entropy(torch.as_tensor(kept.logits), torch.as_tensor(labels))
            measure = RunningMetrics(trainer.run_facts().class_counts)
            metrics = measure(EvalPrediction(kept.logits, labels))
            if measure.recalls is not None:
                trainer.class_recalls[trainer.state.global_step] = measure.recalls.tolist()
            trainer.log({"eval_loss": float(loss)} | {f"eval_{key}": value for key, value in metrics.items()})

    def note(self, found: Comparison, *stages: Stage) -> None:
        """Keep what the stages, of which the first two were compared, say of single examples: `hf-ssl inspect`."""
        answers: dict[str, Answers] = {}
        held_out = [] if found.held_out is None else list(found.held_out.logits)
        for place, stage in enumerate(stages):
            divisor = (self.trainer.temperature or 1.0) if stage.row["kept"] else 1.0
            held = held_out[place] if place < len(held_out) else None
            answers[stage.row["algorithm"]] = Answers(stage.head, stage.logits, held, divisor)
        labels = None if found.held_out is None else found.held_out.labels
        # What was left out as foreign can be looked at, too.
        self.output.predictions = stage_predictions(self.all_read, answers, labels)

    # ---- Common to all ----

    def _trainer(self, model: nn.Module, custom: Any = None, **changes: Any) -> SSLTrainer:
        """A trainer of the request's data; `custom` is an algorithm that is not known by name."""
        data = self.request.data
        config = SSLConfig(**copy.deepcopy({**self.settings, **changes}))
        given: dict[str, Any] = {
            "train_dataset": data.labeled,
            "unlabeled_dataset": data.unlabeled,
            "eval_dataset": data.test,
        }
        given |= {"processing_class": self.request.processor, "callbacks": [SSLProgressCallback("fine-tuning")]}
        return SSLTrainer(model, config, **given, algorithm=custom)

    def _add(self, row: dict[str, Any], history: list[dict[str, Any]] | None = None) -> None:
        self.output.add(row, history or [])
        if self.request.is_main:
            self.output.write_results()
            accuracy = "" if row["test_accuracy"] is None else f", test accuracy {100 * row['test_accuracy']:.1f} %"
            self._say(f"{row['algorithm']}: {duration(row['seconds'])}{accuracy}")

    def _say(self, line: str) -> None:
        if self.request.is_main:
            print(line, flush=True)


def _estimated(row: dict[str, Any], estimate: Estimate) -> None:
    row |= {"estimate": estimate.value, "estimate_error": estimate.error if estimate.value is not None else None}
