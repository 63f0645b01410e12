"""How often the class that a training gives to an example of the pool changes: counted while it trains.

A step already has the pseudo-labels of its batch. They are compared with the last ones of the same examples, on the
device and without waiting for it, which costs a few operations on `[mu*B]` numbers.
"""

from typing import Any

import numpy as np
import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ..algorithms import AlgorithmOutput, SSLAlgorithm
from ..problem_types import SINGLE_LABEL

_NEVER = -1


class ChangeCounts:
    """The counts of one pool.

    Args:
        size: examples of the pool, N.
        device: where the pseudo-labels are.

    Example:
        >>> counts = ChangeCounts(3, torch.device("cpu"))
        >>> for classes in ([0, 1], [1, 1], [1, 1]):
        ...     counts.see(torch.tensor([0, 1]), torch.tensor(classes))
        >>> counts.shares()
        array([0.5, 0. , nan], dtype=float32)
    """

    def __init__(self, size: int, device: torch.device):
        self._last = torch.full((size,), _NEVER, dtype=torch.int64, device=device)
        self._seen = torch.zeros(size, dtype=torch.int32, device=device)
        self._changed = torch.zeros(size, dtype=torch.int32, device=device)

    @torch.no_grad()
    def see(self, index: torch.Tensor, classes: torch.Tensor) -> None:
        """Count a batch: positions `[mu*B]` in the pool, and the class of each (or distributions `[mu*B, C]`)."""
        if classes.ndim == 2:
            classes = classes.argmax(dim=1)
        if classes.shape != index.shape:
            return  # of several views of each example
        last = self._last[index]
        changed = (last != classes) & (last != _NEVER)
        self._changed.index_add_(0, index, changed.to(torch.int32))
        self._seen.index_add_(0, index, torch.ones_like(index, dtype=torch.int32))
        self._last[index] = classes.to(torch.int64)

    def shares(self) -> np.ndarray:
        """Of every example, how often a look found another class than the look before: float32 [N] in 0..1.

        NaN for examples that were seen less than twice.
        """
        seen, changed = (each.cpu().numpy().astype(np.float32) for each in (self._seen, self._changed))
        return np.where(seen > 1, changed / np.maximum(seen - 1, 1), np.nan).astype(np.float32)


class CountChanges(TrainerCallback):
    """Counts while an `SSLTrainer` trains; nothing if its algorithm makes no pseudo-labels, or its pool is a stream.

    Of several processes each counts what it sees itself. After resuming, counting starts again.

    Args:
        trainer: the `SSLTrainer`, to which this callback is added.
    """

    def __init__(self, trainer: Any):
        self.trainer = trainer
        self.counts: ChangeCounts | None = None
        self._handle: Any = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Listen to the algorithm, which may have been made again for a smaller batch."""
        self.on_train_end(args, state, control)
        self.counts = None
        self._handle = self.trainer.algorithm.register_forward_hook(self._listen)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Stop listening."""
        if self._handle is not None:
            self._handle.remove()
            self._handle = None

    def _listen(self, algorithm: SSLAlgorithm, inputs: tuple[Any, ...], output: AlgorithmOutput) -> None:
        if algorithm.problem.problem_type != SINGLE_LABEL:
            return  # several labels and numbers have no class that could change
        size, index, classes = algorithm.problem.num_unlabeled, inputs[1].unlabeled_index, output.pseudo_labels
        if size is None or index is None or classes is None:
            return
        if self.counts is None:
            self.counts = ChangeCounts(size, classes.device)
        self.counts.see(index, classes)


def changes_of(trainer: Any) -> np.ndarray | None:
    """The shares [N] that a trainer's `CountChanges` has counted; None without one, or without pseudo-labels.

    Example:
        >>> from types import SimpleNamespace
        >>> changes_of(SimpleNamespace(callback_handler=SimpleNamespace(callbacks=[]))) is None
        True
    """
    found = (each for each in trainer.callback_handler.callbacks if isinstance(each, CountChanges))
    counts = next((each.counts for each in found if each.counts is not None), None)
    return None if counts is None else counts.shares()
