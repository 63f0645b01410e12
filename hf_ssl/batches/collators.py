"""Items of single examples stacked into batches: `SSLCollator` for a step, `EvaluationCollator` for evaluation.

    items of ViewDataset         nested dict, made in a worker     SSLBatch, made in the training process

    {"labeled": item, ...}   \\                  "labeled": {...}                    labeled, labels
    {"weak": item,             --__call__-->   "unlabeled": {...}  --to_batch-->   unlabeled["weak"], ["strong"], ...
     "strong": item, ...}    /                 "labels", ...                       labeled_index, ...

The nested dict is what DataLoader and accelerate know how to move to a device.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ..errors import BrokenExampleError
from ..views.base import ModelKeywords, as_views
from .batch import SSLBatch
from .packing import PackedBatch

# In "hidden_labels", of an example of the pool whose class is not known.
MISSING_LABEL = -1


def stack_labels(labels: Sequence[Any]) -> torch.Tensor:
    """The labels of prepared rows: classes [N], int64, or lists of C numbers as [N, C], float32.

    Where there is none (None), it is `MISSING_LABEL`, or a row of NaN.

    Example:
        >>> stack_labels([2, None]), stack_labels([[0.5, 1.0], None])
        (tensor([ 2, -1]), tensor([[0.5000, 1.0000],
                [   nan,    nan]]))
    """
    size = next((len(label) for label in labels if isinstance(label, list)), None)
    if size is None:
        return torch.tensor([MISSING_LABEL if label is None else int(label) for label in labels])
    missing = [math.nan] * size
    return torch.tensor([missing if label is None else label for label in labels], dtype=torch.float32)


class SSLCollator:
    """Stacks the items of `ViewDataset` into nested dicts of tensors, from which `to_batch` builds the `SSLBatch`.

    Args:
        views: the view maker; its `stack` is called here, and its `finish` in `to_batch`, on the device of the
            training.

    Raises:
        ValueError: if the views of one batch are images of different sizes.

    Example:
        >>> import numpy as np
        >>> from transformers import ViTImageProcessor
        >>> from hf_ssl.batches.dataset import ViewDataset
        >>> from hf_ssl.batches.sampler import JointBatchSampler
        >>> from hf_ssl.views.image import ImageViews
        >>> rows = [{"image": np.zeros((8, 8, 3), np.uint8), "label": i % 2} for i in range(12)]
        >>> views = ImageViews(ViTImageProcessor(size={"height": 8, "width": 8}))
        >>> dataset = ViewDataset(rows[:4], rows, views, {"weak": "weak", "strong": "strong"}, "label")
        >>> collator = SSLCollator(views)
        >>> keys = next(iter(JointBatchSampler(4, 12, labeled_batch_size=2, unlabeled_batch_size=6)))
        >>> batch = collator.to_batch(collator(dataset.__getitems__(keys)))
        >>> batch.labeled["pixel_values"].shape, batch.unlabeled["strong"]["pixel_values"].shape
        (torch.Size([2, 3, 8, 8]), torch.Size([6, 3, 8, 8]))
    """

    _NO_VIEWS = ("key", "label", "balanced_label", "broken", "opinion")

    def __init__(self, views: Any):
        self.views = as_views(views)

    def __call__(self, items: Sequence[dict[str, Any]]) -> PackedBatch:
        """Stack B labeled and mu*B unlabeled items.

        Returns:
            "labels" [B] (of several labels and of numbers [B, C], see `stack_labels`), "labeled_index" [B],
            "unlabeled_index" `[mu*B]`; "labeled" and "unlabeled", from the names of views to keywords of the model;
            and, if there are any, "hidden_labels" `[mu*B]` or `[mu*B, C]` of the pool, "rotation_labels" `[mu*B]`,
            "opinions" `[mu*B, C]`, and "broken_index", the positions of examples that could not be read.
        """
        labeled = [item for item in items if item["key"].labeled]
        unlabeled = [item for item in items if not item["key"].labeled]
        batch: dict[str, Any] = {
            "labels": stack_labels([item["label"] for item in labeled]),
            "labeled_index": torch.tensor([item["key"].index for item in labeled]),
            "unlabeled_index": torch.tensor([item["key"].index for item in unlabeled]),
            "labeled": self._stacked(labeled),
            "unlabeled": self._stacked(unlabeled),
            **self._extras(unlabeled),
        }
        if "balanced_label" in labeled[0]:
            batch["balanced_labels"] = stack_labels([item["balanced_label"] for item in labeled])
        self._check_sizes({**batch["labeled"], **batch["unlabeled"]})
        return PackedBatch(batch)

    def _stacked(self, items: Sequence[dict[str, Any]]) -> dict[str, dict[str, torch.Tensor]]:
        return {name: self._stack(items, name) for name in items[0] if name not in self._NO_VIEWS}

    def _stack(self, items: Sequence[dict[str, Any]], name: str) -> dict[str, torch.Tensor]:
        values = [item[name] for item in items]
        return self.views.stack([value[0] for value in values] if name == "rotated" else values)

    @staticmethod
    def _extras(unlabeled: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """What only some batches have."""
        extras = {}
        hidden = [item.get("label") for item in unlabeled]
        if any(label is not None and label != MISSING_LABEL for label in hidden):
            extras["hidden_labels"] = stack_labels(hidden)
        if "rotated" in unlabeled[0]:
            extras["rotation_labels"] = torch.tensor([item["rotated"][1] for item in unlabeled])
        if "opinion" in unlabeled[0]:
            extras["opinions"] = torch.from_numpy(np.stack([item["opinion"] for item in unlabeled]))
        broken = [index for item in unlabeled for index in item.get("broken", ())]
        if broken:
            extras["broken_index"] = torch.tensor(broken)
        return extras

    @staticmethod
    def _check_sizes(views: Mapping[str, Mapping[str, torch.Tensor]]) -> None:
        # Sequences are padded to one length; images of two sizes would fail deep inside the model.
        images = {name: view.get("pixel_bytes", view.get("pixel_values")) for name, view in views.items()}
        sizes = {name: tuple(pixels.shape[1:]) for name, pixels in images.items() if pixels is not None}
        if len(set(sizes.values())) > 1:
            shown = ", ".join(f"{name} {' x '.join(map(str, size))}" for name, size in sizes.items())
            raise ValueError(
                f"the views of one batch must be images of one size, got {shown}; make them equal: image_size is that "
                "of views of raw images"
            )

    def to_batch(self, inputs: Mapping[str, Any]) -> SSLBatch:
        """The algorithm's batch. Hidden labels are left out here, so that no algorithm can train on them.

        Args:
            inputs: what a call has returned, by now on the device on which the views are finished.
        """
        labeled = {name: self.views.finish(view) for name, view in inputs["labeled"].items()}
        return SSLBatch(
            labeled=labeled.pop("labeled"),
            labels=inputs["labels"],
            unlabeled={name: self.views.finish(view) for name, view in inputs["unlabeled"].items()},
            labeled_index=inputs["labeled_index"],
            unlabeled_index=inputs["unlabeled_index"],
            labeled_strong=labeled.pop("labeled_strong", None),
            balanced_labeled=labeled.pop("balanced_labeled", None),
            balanced_labels=inputs.get("balanced_labels"),
            rotation_labels=inputs.get("rotation_labels"),
            opinions=inputs.get("opinions"),
        )


def content_free_view(views: Any, row: Mapping[str, Any], device: torch.device | str = "cpu") -> ModelKeywords:
    """`SSLBatch.content_free`: model keywords of one row that says nothing, made as inputs for predictions are.

    Args:
        views: the view maker.
        row: a readable one; of its size, not of its content.
        device: that of the model.

    Raises:
        ValueError: if the view maker has no such input, or what the processor makes of it is not finite.
    """
    made = as_views(views)
    stacked = made.stack([made.content_free(row)])
    view = made.finish({name: values.to(device) for name, values in stacked.items()})
    for name, values in view.items():
        if not values.isfinite().all():
            raise ValueError(
                f"{name} of an input without content must be finite, got other values from the processor; choose "
                "another correction"
            )
    return view


class EvaluationCollator:
    """Stacks the rows of an evaluation dataset: model keywords, with "labels" if the rows have them. Picklable.

        rows --views.evaluation--> items --views.collate--> {"pixel_values": [N, ...], "labels": [N] or [N, C]}

    Args:
        views: the view maker.
        label_column: name of the column with the labels, as prepared rows have them.

    Raises:
        BrokenExampleError: if a row cannot be read.
    """

    def __init__(self, views: Any, label_column: str):
        self.views, self.label_column = as_views(views), label_column

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> PackedBatch:
        try:
            batch = self.views.collate([self.views.evaluation(row) for row in rows])
        except BrokenExampleError as error:
            raise BrokenExampleError(f"in the evaluation dataset: {error}") from error
        labels = [row.get(self.label_column) for row in rows]
        if all(label is not None for label in labels):
            batch["labels"] = stack_labels(labels)
        elif any(label is not None for label in labels):
            raise ValueError(
                f"an evaluation dataset must have a label in each row or in none, got both in column "
                f"{self.label_column!r}; leave out the rows without"
            )
        return PackedBatch(batch)
