"""The loss terms and metrics between two log lines."""

import torch
from accelerate import Accelerator

from ..algorithms import AlgorithmOutput
from ..batches.collators import MISSING_LABEL
from ..distributed import names_of_all
from ..problem_types import MULTI_LABEL, REGRESSION, SINGLE_LABEL


class LogSums:
    """Sums and counts since the last log line, kept on the device: no step waits to read a number.

    Args:
        num_classes: C, of the pseudo-labels that are counted by class; 0 counts none.
        problem_type: what they are: only single classes are counted; of several labels their F1 is measured.

    Attributes:
        values: name -> [2], the sum of a term or metric over the batches, and the number of batches. For
            `pseudo_label_accuracy` the weight of the right pseudo-labels, and that of all; for `pseudo_label_f1` twice
            the weight of the right labels, and that of the pseudo-labels and the true ones; for what is only counted,
            the number and 0.
        classes: weight [C] of the pseudo-labels of each class since the last log line. Of a resumed training those
            before the checkpoint are not counted: they are a picture of what goes on, and no result.

    Example:
        >>> sums = LogSums()
        >>> for loss in (1.0, 2.0):
        ...     sums.add(AlgorithmOutput(torch.tensor(loss), {"supervised": torch.tensor(loss)}))
        >>> sums.values["supervised"]
        tensor([3., 2.])
    """

    def __init__(self, num_classes: int = 0, problem_type: str = SINGLE_LABEL) -> None:
        self.values: dict[str, torch.Tensor] = {}
        self.problem_type = problem_type
        self.num_classes = num_classes if problem_type == SINGLE_LABEL else 0
        self.classes: torch.Tensor | None = None

    @torch.no_grad()
    def add(self, output: AlgorithmOutput, hidden_labels: torch.Tensor | None = None) -> None:
        """Count one batch.

        Args:
            output: of the algorithm.
            hidden_labels: classes [mu*B] of the unlabeled examples, if the pool has labels. Examples with
                `MISSING_LABEL` are left out; a negative class that is none of the labeled dataset's is never right.
                Of several labels [mu*B, C] of 0 and 1, NaN where they are not known.
        """
        for name, value in {**output.terms, **output.metrics}.items():
            value = value.detach().float()
            self._add(name, torch.stack([value, torch.ones_like(value)]))
        if output.pseudo_labels is None:
            return
        if self.problem_type == SINGLE_LABEL:
            self._add_classes(output.pseudo_labels, output.mask, hidden_labels)
        elif self.problem_type == MULTI_LABEL and hidden_labels is not None:
            self._add_several(output.pseudo_labels, output.mask, hidden_labels)
        elif self.problem_type == REGRESSION and hidden_labels is not None:
            self._add_numbers(output.pseudo_labels, hidden_labels)

    def _add_several(self, found: torch.Tensor, mask: torch.Tensor | None, hidden: torch.Tensor) -> None:
        """Compare several pseudo-labels [N, C] with the true ones, of which rows of NaN are not known."""
        known = ~hidden.isnan()
        weight = known.float() if mask is None else known * (mask if mask.ndim == 2 else mask[:, None])
        found, true = (found > 0.5).float(), (hidden > 0.5).float()
        both, either = (weight * found * true).sum(), (weight * (found + true)).sum()
        self._add("pseudo_label_f1", torch.stack([2 * both, either]))

    def _add_numbers(self, found: torch.Tensor, hidden: torch.Tensor) -> None:
        """The absolute error of numbers [N, K], in the user's units, of which NaN are not known."""
        known = ~hidden.isnan()
        error = ((found - hidden).abs() * known).where(known, 0.0)
        self._add("pseudo_label_mae", torch.stack([error.sum(), known.sum().to(error.dtype)]))

    def _add_classes(
        self, labels: torch.Tensor, mask: torch.Tensor | None, hidden_labels: torch.Tensor | None
    ) -> None:
        """Count classes [N], or the largest of distributions [N, C], and compare them with the true ones."""
        labels = labels.argmax(dim=-1) if labels.ndim == 2 else labels
        weight = torch.ones_like(labels, dtype=torch.float32) if mask is None else mask.float()
        if weight.shape != labels.shape:
            return
        if self.num_classes:
            if self.classes is None:
                self.classes = weight.new_zeros(self.num_classes)
            self.classes.index_add_(0, labels, weight)
        if hidden_labels is not None:
            weight = weight * (hidden_labels != MISSING_LABEL)
            self._add("pseudo_label_accuracy", torch.stack([(weight * (labels == hidden_labels)).sum(), weight.sum()]))

    def count(self, name: str, number: int, device: torch.device) -> None:
        """Add to a number that is only counted, such as skipped files; `means` gives its sum if it is above 0."""
        value = torch.zeros(2, device=device)
        # Not `torch.tensor([number, 0.0], device=device)`: its copy to the device would be waited for.
        value[0].fill_(number)
        self._add(name, value)

    def _add(self, name: str, value: torch.Tensor) -> None:
        self.values[name] = self.values[name] + value if name in self.values else value

    def means(self, accelerator: Accelerator) -> dict[str, float]:
        """The means over the batches of all processes. Every process must call it."""
        values = self._of_all(accelerator)
        if not values:
            return {}
        totals = accelerator.reduce(torch.stack(list(values.values())), reduction="sum").tolist()
        named = dict(zip(values, totals, strict=True))
        # A mean over no example (no pseudo-label passed the threshold) is left out rather than shown as 0.
        means = {name: total / count for name, (total, count) in named.items() if count > 0}
        return means | {name: int(total) for name, (total, count) in named.items() if total > 0 == count}

    def class_counts(self, accelerator: Accelerator) -> list[float]:
        """`classes` of all processes together, C numbers. Every process must call it."""
        mine = torch.zeros(self.num_classes, device=accelerator.device) if self.classes is None else self.classes
        return accelerator.reduce(mine, reduction="sum").tolist()

    def gathered(self, accelerator: Accelerator) -> dict[str, torch.Tensor]:
        """`values` of all P processes: name -> [P, 2]. Every process must call it."""
        return {name: accelerator.gather(value[None]) for name, value in self._of_all(accelerator).items()}

    def _of_all(self, accelerator: Accelerator) -> dict[str, torch.Tensor]:
        """`values` by the names that any process has, 0 for those that this one has not."""
        nothing = torch.zeros(2, device=accelerator.device)
        return {name: self.values.get(name, nothing) for name in names_of_all(self.values)}

    def clear(self) -> None:
        """Forget everything."""
        self.values, self.classes = {}, None
