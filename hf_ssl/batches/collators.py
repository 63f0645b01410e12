"""What one step is made of: which examples (JointBatchSampler), their views (ViewDataset), stacked (SSLCollator)."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ..errors import BrokenExampleError
from .batch import SSLBatch
from .packing import PackedBatch


class SSLCollator:
    """Stacks the items of `ViewDataset` into nested dicts of tensors; `to_batch` makes the `SSLBatch` of them.

    Args:
        views: its `collate(list)` stacks the views of one name into model keywords; where it has `stack(list)` and
            `finish(view)`, the first does so here, and the second in `to_batch`.

    Raises:
        ValueError: if the views of one batch are images of different sizes.
    """

    _NO_VIEWS = ("key", "label", "broken")

    def __init__(self, views):
        self.views = views

    def __call__(self, items: Sequence[dict[str, Any]]) -> dict[str, Any]:
        labeled = [item for item in items if item["key"].labeled]
        unlabeled = [item for item in items if not item["key"].labeled]
        batch: dict[str, Any] = {
            "labels": torch.tensor([int(item["label"]) for item in labeled]),
            "labeled_index": torch.tensor([item["key"].index for item in labeled]),
            "unlabeled_index": torch.tensor([item["key"].index for item in unlabeled]),
            "labeled": {name: self._stack(labeled, name) for name in labeled[0] if name not in self._NO_VIEWS},
            "unlabeled": {name: self._stack(unlabeled, name) for name in unlabeled[0] if name not in self._NO_VIEWS},
        }
        hidden = [item.get("label") for item in unlabeled]
        if all(label is not None for label in hidden):
            batch["hidden_labels"] = torch.tensor([int(label) for label in hidden])
        if "rotated" in unlabeled[0]:
            turns = [item["rotated"][1] for item in unlabeled]
            batch["rotation_labels"] = torch.tensor(turns)
        broken = [index for item in unlabeled for index in item.get("broken", ())]
        if broken:
            batch["broken_index"] = torch.tensor(broken)
        self._check_sizes({**batch["labeled"], **batch["unlabeled"]})
        return PackedBatch(batch)

    @staticmethod
    def _check_sizes(views: Mapping[str, Mapping[str, torch.Tensor]]) -> None:
        # Sequences are padded to one length; images of two sizes would fail deep inside the model.
        images = {name: view.get("pixel_bytes", view.get("pixel_values")) for name, view in views.items()}
        sizes = {name: tuple(pixels.shape[1:]) for name, pixels in images.items() if pixels is not None}
        if len(set(sizes.values())) > 1:
            shown = ", ".join(f"{name} {' x '.join(map(str, size))}" for name, size in sizes.items())
            raise ValueError(
                f"the views of one batch are images of different sizes: {shown}; make them equal (image_size)"
            )

    def _stack(self, items, name):
        values = [item[name] for item in items]
        stack = getattr(self.views, "stack", self.views.collate)
        return stack([value[0] for value in values] if name == "rotated" else values)

    def to_batch(self, inputs: Mapping[str, Any]) -> SSLBatch:
        """The algorithm's batch. Hidden labels are left out here, so that no algorithm can train on them.

        Args:
            inputs: what a call has returned, on the device by now: there the views are finished.
        """
        finish = getattr(self.views, "finish", dict)
        labeled = {name: finish(view) for name, view in inputs["labeled"].items()}
        return SSLBatch(
            labeled=labeled.pop("labeled"),
            labels=inputs["labels"],
            unlabeled={name: finish(view) for name, view in inputs["unlabeled"].items()},
            labeled_index=inputs["labeled_index"],
            unlabeled_index=inputs["unlabeled_index"],
            labeled_strong=labeled.pop("labeled_strong", None),
            rotation_labels=inputs.get("rotation_labels"),
        )


class EvaluationCollator:
    """Rows of an evaluation dataset -> model keywords, with "labels" where the rows have them. Picklable.

    Raises:
        BrokenExampleError: if a row cannot be read.
    """

    def __init__(self, views, label_column: str):
        self.views, self.label_column = views, label_column

    def __call__(self, rows: list[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        try:
            batch = self.views.collate([self.views.evaluation(row) for row in rows])
        except BrokenExampleError as error:
            raise BrokenExampleError(f"in the evaluation dataset: {error}") from error
        if rows[0].get(self.label_column) is not None:
            batch["labels"] = torch.tensor([int(row[self.label_column]) for row in rows])
        return PackedBatch(batch)
