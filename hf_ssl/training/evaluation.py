"""The part of SSLTrainer that reads a model's answers in evaluation: of models of every kind, and no class from NaN.

`Trainer` takes the loss and the logits from where models of transformers put them. Here a model may also have no
`labels` in its forward, return no loss, and answer with a tensor, a tuple or a mapping in any order.
"""

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import nn
from transformers import Trainer
from transformers.trainer_pt_utils import nested_detach
from transformers.trainer_utils import has_length
from transformers.utils import logging

from ..algorithms.criteria import LABELED_LOSSES
from ..class_sizes import SIZE_METRICS, Imbalance
from ..config import SSLConfig
from ..data.columns import DataSummary
from ..distributed import gather
from ..errors import NotFiniteError
from ..metrics import METRICS, RunningMetrics
from ..metrics.default import CollectedMetrics
from ..model.wrapping import unwrap, without_adapters
from ..problem_types import MAIN_METRICS, MULTI_LABEL, REGRESSION, SINGLE_LABEL
from .supervised_loss import SupervisedLoss

logger = logging.get_logger(__name__)

# Of float32, a gigabyte; and what a stream is taken for, whose length is not known.
_MOST_SCORES, _LENGTH_OF_STREAM = 1 << 28, 100_000
# Metrics that choose the best checkpoint for some data, if the user names none.
_CHOSEN_HERE = ("balanced_accuracy", MAIN_METRICS[MULTI_LABEL].name, MAIN_METRICS[REGRESSION].name)


class EvaluationMixin(Trainer):
    """A `Trainer` that evaluates models of every kind alike: metrics and a loss wherever there are labels.

    The loss is the model's own if it returns one, otherwise the mean cross-entropy of its logits. Of several labels or
    of numbers (in the user's units) it is always that of `hf_ssl.algorithms.criteria`; with a `compute_loss_func` or
    label smoothing it is theirs, as in Trainer.
    """

    args: SSLConfig
    criterion: SupervisedLoss | None = None
    data: DataSummary | None
    # How many examples of the evaluation in progress have scores that are not finite, and how many there are.
    _not_finite: torch.Tensor | None = None
    # Step of an evaluation -> recall [C] of each class; of one dataset, measured by the default metrics.
    class_recalls: dict[int, list[float]]

    def measure_class_sizes(self, data: DataSummary) -> None:
        """Let the default metrics know the labeled counts; before the first evaluation of a training.

        If they are clearly imbalanced, the best checkpoint is chosen by balanced accuracy if `balance_decides`: the
        loss of a test set with the same long tail hardly sees the rare classes. Of several labels and of numbers their
        main metric chooses it.
        """
        self.class_recalls = {}
        args, main = self.args, MAIN_METRICS[data.problem_type]
        if args.metric_for_best_model in _CHOSEN_HERE and not args.metric_is_chosen:
            # An earlier trainer with these settings chose it for its data; this is Trainer's default.
            args.metric_for_best_model, args.greater_is_better = "loss", False
        may_choose = balance_decides(args) and not isinstance(self.eval_dataset, dict)
        if may_choose and isinstance(self.compute_metrics, CollectedMetrics):
            args.metric_for_best_model, args.greater_is_better = main
        if not isinstance(self.compute_metrics, RunningMetrics):
            return
        counts = data.label_counts
        self.compute_metrics.class_counts = counts
        if may_choose and counts is not None and Imbalance.of(counts).is_clear:
            args.metric_for_best_model, args.greater_is_better = "balanced_accuracy", True

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """The loss of an evaluation batch, which holds `labels`, and the model's answers as a mapping."""
        labels = inputs.get("labels")
        if labels is None:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        kind = SINGLE_LABEL if self.data is None else self.data.problem_type
        # Of several labels and of numbers, not all models compute a loss: those for recordings take one class.
        given = _given(model, inputs) if kind == SINGLE_LABEL else _without_labels(inputs)
        answers = answers_of(model(**given))
        loss = answers.pop("loss", None)
        if self.criterion is not None:
            loss = self.criterion(answers["logits"], labels)
        elif loss is None:
            loss = LABELED_LOSSES[kind](answers["logits"].float(), labels, None)
        return (loss, {"loss": loss, **answers}) if return_outputs else loss

    def prediction_step(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[torch.Tensor | None, Any, Any]:
        """As in Trainer, with logits first whatever the model returns."""
        if self.args.label_names is None and inputs.get("labels") is not None:
            # Trainer looks for them in the signature of the model.
            self.label_names = ["labels"]
        if "inputs" in self.args.include_for_metrics and not hasattr(self.model, "main_input_name"):
            # Models of transformers say which; Trainer takes the others for language models.
            cast(Any, self.model).main_input_name = next(name for name in inputs if name != "labels")
        if self.label_names and all(inputs.get(name) is not None for name in self.label_names):
            loss, scores, labels = super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)
        else:
            loss, scores, labels = (
                None,
                None if prediction_loss_only else self._scores(model, inputs, ignore_keys),
                None,
            )
        if scores is not None:
            self._note(scores[0] if isinstance(scores, tuple) else scores)
        return loss, scores, labels

    def _scores(self, model: nn.Module, inputs: dict[str, Any], ignore_keys: list[str] | None) -> Any:
        """Logits, or a tuple of all answers that starts with them, of a batch without labels."""
        if ignore_keys is None:
            ignore_keys = getattr(getattr(self.model, "config", None), "keys_to_ignore_at_inference", [])
        with torch.no_grad(), self.compute_loss_context_manager():
            answers = answers_of(model(**_given(model, self._prepare_inputs(inputs))))
        kept = tuple(value for key, value in answers.items() if key not in [*ignore_keys, "loss"])
        return nested_detach(kept[0] if len(kept) == 1 else kept)

    # ---- Scores that are not finite ----

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        """As in Trainer.

        Raises:
            NotFiniteError: if the model's scores are NaN or infinite, from which no class follows; with
                `stop_on_nan=False` a warning, and the default metrics are NaN.
        """
        self._not_finite = None
        self.class_recalls = getattr(self, "class_recalls", {})
        if (clear := getattr(self.compute_metrics, "clear", None)) is not None:
            clear()
        with self._scores_dropped(*args, **kwargs):
            output = super().evaluation_loop(*args, **kwargs)
        if not self._scores_are_finite() and isinstance(self.compute_metrics, RunningMetrics):
            # Also of classes that were chosen by `preprocess_logits_for_metrics`.
            metrics = output.metrics or {}
            metrics.update({name: float("nan") for name in metrics if name.endswith(METRICS + SIZE_METRICS)})
        elif isinstance(self.compute_metrics, RunningMetrics) and kwargs.get("metric_key_prefix", "eval") == "eval":
            recalls = self.compute_metrics.recalls
            self.class_recalls |= {} if recalls is None else {self.state.global_step: recalls.tolist()}
        return output

    @contextmanager
    def _scores_dropped(self, dataloader: Any, description: str, *_: Any, **__: Any) -> Iterator[None]:
        """Measure batch by batch if all scores [N, C] would take more than a gigabyte and only metrics are asked for.

        `predict` returns the scores, and metrics of the user may need all of them at once.
        """
        classes = getattr(getattr(self.model, "config", None), "num_labels", None) or 0
        is_known = has_length(dataloader)
        size = self.num_examples(dataloader) if is_known else _LENGTH_OF_STREAM
        before = self.args.batch_eval_metrics
        alone = description == "Evaluation" and isinstance(self.compute_metrics, RunningMetrics)
        self.args.batch_eval_metrics = before or (alone and classes * size > _MOST_SCORES)
        try:
            yield
        finally:
            self.args.batch_eval_metrics = before

    def _note(self, scores: Any) -> None:
        if isinstance(scores, torch.Tensor) and scores.is_floating_point():
            # As in `hf_ssl.metrics.finite_rows`: a class may be ruled out by a score of minus infinity.
            rows = (scores.isnan() | scores.isposinf()).flatten(1).any(dim=1)
            seen = torch.stack([rows.sum(), rows.new_tensor(len(rows), dtype=torch.int64)])
            self._not_finite = seen if self._not_finite is None else self._not_finite + seen

    def _scores_are_finite(self) -> bool:
        none = torch.zeros(2, dtype=torch.int64, device=self.args.device)
        bad, total = gather((none if self._not_finite is None else self._not_finite)[None]).sum(dim=0).tolist()
        if not bad:
            return True
        model = unwrap(self.model)
        weights = [name for name, weight in model.named_parameters() if not weight.isfinite().all()]
        cause = f"{len(weights)} weights are not (first {weights[0]})" if weights else "its weights are"
        message = (
            f"the model's scores are not finite for {bad / total:.0%} of the evaluated examples after step "
            f"{self.state.global_step:,} ({cause}): no class follows from them; "
        )
        if self.args.stop_on_nan:
            raise NotFiniteError(f"{message}evaluate an earlier checkpoint, or lower learning_rate and train again")
        logger.warning(f"{message}the default metrics are NaN")
        return False


def balance_decides(args: SSLConfig) -> bool:
    """Whether balanced accuracy may choose the best checkpoint: there is one, and nobody asked for another metric.

    Schedules that follow the metric keep the loss: which direction is better for them is a setting of their own.

    Example:
        >>> balance_decides(SSLConfig("run", use_cpu=True))
        False
    """
    follows = args.lr_scheduler_type in ("reduce_lr_on_plateau", "greedy")
    return args.load_best_model_at_end and not args.metric_is_chosen and not follows


def takes_labels(model: nn.Module) -> bool:
    """Whether the forward of a model, inside its wrappers, has `labels` among its parameters.

    Example:
        >>> takes_labels(nn.Linear(2, 2))
        False
    """
    return "labels" in inspect.signature(without_adapters(model).forward).parameters


def _given(model: nn.Module, inputs: dict[str, Any]) -> dict[str, Any]:
    """The inputs without `labels`, unless the model takes them."""
    return inputs if takes_labels(model) else _without_labels(inputs)


def _without_labels(inputs: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in inputs.items() if key != "labels"}


def answers_of(output: Any) -> dict[str, Any]:
    """What a model returns as a dictionary: "loss" if there is one, then "logits", then the rest.

    Args:
        output: the logits [N, C]; a mapping or `ModelOutput` that has "logits"; or a tuple that starts with a scalar
            loss and the logits, or with the logits.

    Raises:
        ValueError: if it is a mapping without "logits".

    Example:
        >>> list(answers_of({"features": torch.zeros(3, 4), "logits": torch.zeros(3, 2)}))
        ['logits', 'features']
        >>> list(answers_of((torch.tensor(0.5), torch.zeros(3, 2))))
        ['loss', 'logits']
    """
    if isinstance(output, Mapping):
        if output.get("logits") is None:
            raise ValueError(f'the model must return logits, got {", ".join(output)}; name them "logits"')
        first = [key for key in ("loss", "logits") if output.get(key) is not None]
        return {key: output[key] for key in [*first, *(key for key in output if key not in ("loss", "logits"))]}
    values = list(output) if isinstance(output, tuple | list) else [output]
    loss = {"loss": values.pop(0)} if len(values) > 1 and _is_scalar(values[0]) else {}
    return {**loss, "logits": values[0], **{f"output_{i}": value for i, value in enumerate(values[1:], start=1)}}


def _is_scalar(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.ndim == 0
