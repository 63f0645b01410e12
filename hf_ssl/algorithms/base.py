"""The contract of all algorithms with the trainer, or with a plain PyTorch loop.

ProblemSpec  what is to be learned: sizes, classes, modality       -> problem.py
Progress     how far training is                                   -> problem.py
SSLBatch     one step's views, labels and indices                  -> batches/batch.py
Correction   what is done about long tails, if anything            -> correction.py
SSLAlgorithm turns a model, a batch and the progress into an `AlgorithmOutput`
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import nn

from .. import losses
from ..batches.batch import LABELED_VIEWS, SSLBatch
from ..model.forward import ModelForward
from ..problem_types import REGRESSION
from .correction import Correction
from .criteria import LABELED_LOSSES
from .outside_teacher import OutsideTeacher
from .problem import PROBLEM_KEYWORDS, Criterion, ProblemSpec, Progress, check
from .steps import StepStatistics


@dataclass
class AlgorithmOutput:
    """What an algorithm returns for one batch.

    Args:
        loss: scalar to differentiate.
        terms: the named parts of the loss, before their weights, detached.
        metrics: detached scalars to log, such as `mask_ratio`.
        mask: weight `[mu*B]` given to each unlabeled example, or `[mu*B, C]` to each of its labels if it may have
            several; None if the algorithm does not weight them.
        pseudo_labels: class `[mu*B]` (or distribution, labels or numbers `[mu*B, C]`) that each unlabeled example was
            trained towards, or None. The trainer compares it with hidden labels if the pool has them; the algorithm
            never sees those.
        labeled_mask: weight [B] given to each labeled example by algorithms that pseudo-label those too (DeFixMatch).

    Example:
        >>> loss = torch.tensor(0.7, requires_grad=True)
        >>> AlgorithmOutput(loss, {"supervised": loss.detach()}).terms
        {'supervised': tensor(0.7000)}
    """

    loss: torch.Tensor
    terms: dict[str, torch.Tensor]
    metrics: dict[str, torch.Tensor] = field(default_factory=dict)
    mask: torch.Tensor | None = None
    pseudo_labels: torch.Tensor | None = None
    labeled_mask: torch.Tensor | None = None


class SSLAlgorithm(nn.Module):
    """Base class of all algorithms: a module that turns a batch into a loss.

    Settings are typed keyword arguments of the constructor, running statistics are registered buffers, trainable heads
    are sub-modules; saving, resuming and moving to a device then need no code. A subclass passes the keywords it does
    not know on to `super().__init__(**task)` and writes `forward(model, batch, progress) -> AlgorithmOutput`.

    Class attributes:
        views: the unlabeled views it needs: name in `SSLBatch.unlabeled` -> kind of view ("weak", "medium", "strong",
            "rotated"). The name "labeled_strong" asks for a strong view of the labeled examples, and
            "balanced_labeled" for one of as many others that are drawn class by class. An instance may need
            fewer views than its class (no "rotated" for text), so ask the instance if there is one.
        uses_teacher: whether it calls `model.teacher`, that is, whether it needs a moving average of the weights.
        remembers_pool: whether it keeps something for each example of the pool, by `SSLBatch.unlabeled_index`. It is
            then refused for a stream, whose `num_unlabeled` is None.
        differentiates_twice: whether it needs derivatives of derivatives, which sharded models do not give.
        offers: what a correction for long tails finds to correct, see `Correction.needs`.
        presumes: why it is not there for other kinds of problems, as the end of an error.
        title, summary, year, arxiv, citation: for `hf-ssl algorithms` and the model card.

    Args:
        task: the fields of `ProblemSpec` as keywords. They become `problem` and can also be read from the algorithm
            itself (`algorithm.num_classes`).

    Example:
        FixMatch with weights that grow with the confidence, instead of a threshold:

        >>> from hf_ssl import losses
        >>> from hf_ssl.algorithms import get_algorithm
        >>> class SmoothMatch(SSLAlgorithm):
        ...     def __init__(self, *, power: float = 4.0, **task):
        ...         super().__init__(**task)
        ...         self.power = power
        ...
        ...     def forward(self, model, batch, progress):
        ...         weak, strong = batch.unlabeled["weak"], batch.unlabeled["strong"]
        ...         out = model(labeled=batch.labeled, strong=strong, no_grad={"weak": weak})
        ...         confidence, targets = losses.probabilities(out["weak"].logits).max(dim=-1)
        ...         weight = confidence**self.power
        ...         supervised = self.labeled_loss(out["labeled"].logits, batch.labels)
        ...         unsupervised = losses.cross_entropy(out["strong"].logits, targets, weight)
        ...         return self.total(supervised, unsupervised, mask=weight, pseudo_labels=targets)
        >>> sizes = {"num_labeled": 6, "num_unlabeled": 24, "labeled_batch_size": 2, "unlabeled_batch_size": 4}
        >>> algorithm = get_algorithm(SmoothMatch, power=2.0, num_classes=3, feature_size=5, **sizes)
        >>> algorithm.current_settings()
        {'power': 2.0}
        >>> model = ModelForward(nn.Sequential(nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 3)))
        >>> view = {"input": torch.randn(4, 5)}
        >>> batch = SSLBatch({"input": torch.randn(2, 5)}, torch.tensor([0, 2]), {"weak": view, "strong": view})
        >>> output = algorithm(model, batch, Progress(step=0, max_steps=10, steps_per_epoch=6))
        >>> list(output.terms), output.mask.shape
        (['supervised', 'unsupervised'], torch.Size([4]))
    """

    views: Mapping[str, str] = {"weak": "weak", "strong": "strong"}
    uses_teacher: bool = False
    remembers_pool: bool = False
    differentiates_twice: ClassVar[bool] = False
    offers: ClassVar[frozenset[str]] = frozenset({"labeled"})
    presumes: ClassVar[str] = ""
    title: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    year: ClassVar[int | None] = None
    arxiv: ClassVar[str | None] = None
    citation: ClassVar[str] = ""

    class_distribution: torch.Tensor
    # Mean and standard deviation [K] of the labeled numbers; registered for regression alone.
    target_mean: torch.Tensor
    target_scale: torch.Tensor
    # What `labeled_loss` computes instead of `problem_loss`.
    criterion: Criterion | None = None
    # `Progress.unsupervised_ramp` and `Progress.step` of the step that is being computed.
    _ramp: float = 1.0
    _step: int | None = None

    def __init__(self, **task: Any):
        super().__init__()
        problem = ProblemSpec(**task)
        for name in ("num_unlabeled", "unlabeled_batch_size") if self.reads_pool else ():
            value = getattr(problem, name)
            check(value is None or value >= 1, name, value, "at least 1")
        if self.remembers_pool:
            name = self.title or type(self).__name__
            _refuse_stream(name, problem, "an algorithm that does not (freematch, softmatch)")
        # It follows from the labeled set at every start, so it is not part of the saved state.
        self.register_buffer("class_distribution", problem.frequencies(), persistent=False)
        if problem.problem_type == REGRESSION:
            # Part of the saved state: the head of a checkpoint is in units of the numbers it was trained on.
            for name, number in (("target_mean", 0.0), ("target_scale", 1.0)):
                given = getattr(problem, name)
                value = torch.full((problem.num_classes,), number) if given is None else torch.as_tensor(given)
                self.register_buffer(name, value.float())
        # The one number of the problem that may be changed while training.
        self.unsupervised_weight = problem.unsupervised_weight
        self.problem = problem
        self.correction = Correction(problem=problem, class_counts=problem.frequencies())
        self.outside_teacher: OutsideTeacher | None = None

    def correct_with(self, correction: Correction) -> None:
        """Put a correction for long tails around this algorithm, with its heads and views; before the first step.

        Raises:
            ValueError: if it cannot correct this algorithm; the message says why.
        """
        if reason := correction.refusal(self):
            name = self.title or type(self).__name__
            raise ValueError(f"imbalance must be a correction that {name} allows, got {correction.title}: {reason}")
        if correction.remembers_pool:
            _refuse_stream(correction.title, self.problem, "another correction")
        correction.join(self)
        self.correction = correction
        for name, head in correction.heads().items():
            self.add_module(name, head)
        self.views = {**self.views, **correction.views}
        self.uses_teacher = self.uses_teacher or correction.uses_teacher
        self.remembers_pool = self.remembers_pool or correction.remembers_pool

    def learn_from(self, teacher: OutsideTeacher) -> None:
        """Add the term of a larger model's opinions (`SSLBatch.opinions`) to this algorithm; before the first step."""
        self.outside_teacher = teacher
        if not self.reads_pool:
            self.views = {**self.views, "weak": "weak"}

    @property
    def answer(self) -> Correction:
        """What gives the classifier that is evaluated and saved: the correction, unless an algorithm has its own."""
        return self.correction

    @property
    def reads_pool(self) -> bool:
        """Whether it asks for a view of the unlabeled examples."""
        return any(name not in LABELED_VIEWS for name in self.views)

    def __call__(self, model: ModelForward, batch: SSLBatch, progress: Progress) -> AlgorithmOutput:
        """Compute the loss of one batch and update the statistics.

        Args:
            model: the model to train, wrapped in a `ModelForward`.
            batch: labeled and unlabeled views; the unlabeled ones are those that `views` names.
            progress: how far training is. With the step of the last call, this one is a further pass of that step.
        """
        self._ramp = progress.unsupervised_ramp
        further, self._step = progress.step == self._step, progress.step
        for part in self.modules():
            if isinstance(part, StepStatistics):
                part.begin_pass(further)
        if self.outside_teacher is None:
            return super().__call__(model, batch, progress)
        with model.heard() as outputs:
            output: AlgorithmOutput = super().__call__(model, batch, progress)
        term, share = self.outside_teacher(model, outputs, batch)
        output.loss = output.loss + self.outside_teacher.weight_at(progress) * term
        output.terms["teacher"], output.metrics["teacher_ratio"] = term.detach(), share
        return output

    def begin_step(self) -> None:
        """Let the next call begin a step, also if its number is that of the last one: a new training begins."""
        self._step = None

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As in PyTorch. What is loaded was saved between two steps, so the next call begins one."""
        self.begin_step()
        return super().load_state_dict(state_dict, strict, assign)

    def milestones(self, progress: Progress) -> dict[str, int]:
        """What does not work from the first step on, in words -> the step that it begins with; nothing by default.

        It is said at the start of a run: "SimMatch's memory votes from step 5 of 1,000".
        """
        return {}

    def forward(self, model: ModelForward, batch: SSLBatch, progress: Progress) -> AlgorithmOutput:
        """What a subclass defines; call the algorithm itself instead."""
        raise TypeError(f"{type(self).__name__} must define forward(self, model, batch, progress)")

    def labeled_loss(
        self, logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The scalar loss of labeled examples: that of `problem_loss`, or what `criterion` computes instead.

        `SSLTrainer` sets `criterion` if it was given a `compute_loss_func` or label smoothing. Only what compares
        predictions with given labels comes here, not losses of pseudo-labels.

        Args:
            logits: [N, C].
            targets: classes [N], or distributions [N, C] of mixed examples; several labels or numbers [N, C].
            weights: [N]; None weighs every example with 1.
        """
        more = self.correction.labeled_weights(targets)
        if more is not None:
            weights = more if weights is None else more * weights
        return (self.criterion or self.problem_loss)(self.correction.labeled_logits(logits), targets, weights)

    def problem_loss(
        self, logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The usual loss of the kind of problem, as `labeled_loss`: the cross-entropy of one class per example.

        Numbers are compared in units of their standard deviation, so that learning rates and weights of terms mean the
        same whether a length is in meters or in miles.
        """
        if self.problem.problem_type == REGRESSION:
            logits, targets = self.standardized(logits), self.standardized(targets)
        return LABELED_LOSSES[self.problem.problem_type](logits, targets, weights)

    def standardized(self, numbers: torch.Tensor) -> torch.Tensor:
        """(numbers - target_mean) / target_scale: [N, K] in the user's units -> [N, K], in float32 at least.

        Labeled numbers have mean 0 and standard deviation 1 afterwards. For regression only: `target_mean` and
        `target_scale` are buffers of such an algorithm.
        """
        return (losses.float_logits(numbers) - self.target_mean) / self.target_scale

    def log_variance_layer(self) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Weight [K, D] and bias [K] of a linear layer on the features of the head, if the algorithm has learned one.

        It gives the logarithm of each number's variance in the square of the user's units, which is saved with the
        model. None, the default, for algorithms that do not know how uncertain a number is.
        """
        return None

    def total(
        self,
        supervised: torch.Tensor,
        unsupervised: torch.Tensor,
        *,
        warmup: float = 1.0,
        extra: Mapping[str, tuple[float, torch.Tensor]] | None = None,
        **output: Any,
    ) -> AlgorithmOutput:
        """The usual sum: supervised + unsupervised_weight * warmup * unsupervised + sum of weight * term over `extra`.

        `Progress.unsupervised_ramp` of the current step is a further factor of the second term.

        Args:
            supervised: scalar.
            unsupervised: scalar.
            warmup: in [0, 1], see `Progress.warmup`.
            extra: further terms by name, each as (weight, term).
            output: further fields of `AlgorithmOutput`; `mask_ratio`, the share that takes part, is the mean of
                `mask`, in which weights above 1 count as 1.
        """
        loss = supervised + self.unsupervised_weight * self._ramp * warmup * unsupervised
        terms = {"supervised": supervised, "unsupervised": unsupervised}
        for name, (weight, term) in (extra or {}).items():
            loss = loss + weight * term
            terms[name] = term
        metrics = dict(output.pop("metrics", {}))
        for name, ratio in (("mask", "mask_ratio"), ("labeled_mask", "labeled_mask_ratio")):
            if output.get(name) is not None:
                output[name] = output[name].detach()
                # A share: an example that counts threefold takes part once.
                metrics[ratio] = output[name].clamp(max=1.0).mean()
        return AlgorithmOutput(loss, {name: term.detach() for name, term in terms.items()}, metrics, **output)

    def __getattr__(self, name: str) -> Any:
        """Read what belongs to the algorithm and is kept elsewhere: `algorithm.num_classes`, `flexmatch.class_counts`.

        Python asks here only for names that the module itself lacks. They are looked for among the fields of `problem`
        and then among the buffers of the direct parts, so that a running statistic can be read without knowing which
        part (threshold, alignment, memory) computes it.

        Raises:
            AttributeError: if there is no such name; the message lists the statistics.
        """
        try:
            return super().__getattr__(name)
        except AttributeError:
            pass
        # Both are missing while an instance is being made or copied.
        problem, parts = vars(self).get("problem"), vars(self).get("_modules", {}).values()
        if problem is not None and name in PROBLEM_KEYWORDS:
            return getattr(problem, name)
        # Names of the algorithm's own parts come first.
        parts = sorted((part for part in parts if part is not None), key=lambda part: not isinstance(part, Correction))
        parts = [inner for part in parts if isinstance(part, Correction) for inner in part.children()] + parts
        statistics = {key: buffer for part in parts for key, buffer in part._buffers.items()}
        if name in statistics:
            return statistics[name]
        known = ", ".join(statistics) or "none"
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}; statistics of its parts: {known}")

    @classmethod
    def settings(cls) -> dict[str, inspect.Parameter]:
        """The hyper-parameters that the class and its bases add to the fields of `ProblemSpec`, by name.

        Those of algorithms come first, and those that a whole family shares (`margin_penalty`) last.
        """
        own: dict[str, inspect.Parameter] = {}
        shared: dict[str, inspect.Parameter] = {}
        for base in reversed(cls.__mro__):
            if not issubclass(base, SSLAlgorithm) or base is SSLAlgorithm or "__init__" not in vars(base):
                continue
            parameters = inspect.signature(base.__init__).parameters.values()
            found = own if vars(base).get("title") else shared
            found.update({p.name: p for p in parameters if p.kind == p.KEYWORD_ONLY})
        # An algorithm may have a default of its own for a setting of its family.
        found = own | {name: parameter for name, parameter in shared.items() if name not in own}
        return {name: parameter for name, parameter in found.items() if name not in PROBLEM_KEYWORDS}

    def current_settings(self) -> dict[str, bool | int | float | str]:
        """The values of `settings()` that are in force, regardless of which part of the algorithm keeps them."""
        values: dict[str, bool | int | float | str] = {}
        correction = set(self.correction.modules())
        for name in self.settings():
            found = (getattr(part, name, None) for part in self.modules() if part not in correction)
            value = next((each for each in found if isinstance(each, bool | int | float | str)), None)
            if value is not None:
                values[name] = value
        return values


def _refuse_stream(title: str, problem: ProblemSpec, other: str) -> None:
    if problem.num_unlabeled is None:
        raise ValueError(
            f"{title} keeps something for each example of the pool, and a stream has no end; use {other}, or load the "
            "pool without streaming"
        )
