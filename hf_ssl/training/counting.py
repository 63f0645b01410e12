"""The part of SSLTrainer that counts what went through the model: `total_flos` and `num_input_tokens_seen`."""

import weakref
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from transformers import Trainer


class CountingMixin(Trainer):
    """A `Trainer` that counts joint batches: every view, labeled or not, is an input of its own.

    `total_flos` follows Trainer's estimate, 6 times the elements of the inputs times the parameters outside of
    embeddings: a forward and a backward pass. It takes each view for one that is trained on; views without a gradient,
    such as FixMatch's weak ones, cost a third of that, and what an algorithm does beyond one pass over each view
    (VAT's search, MixMatch's guesses) is not counted.
    """

    # The model whose parameters were counted, and their number.
    _counted: tuple[weakref.ref, int] | None = None

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Floating-point operations of a step on these inputs, as far as the estimate goes."""
        model: Any = self.model
        main = getattr(model, "main_input_name", "input_ids")
        elements = sum(view[main].numel() for view in views_of(inputs) if main in view)
        if elements == 0 or not hasattr(model, "num_parameters"):
            return 0
        if self._counted is None or self._counted[0]() is not model:
            # It takes about a millisecond, and is the same in all steps.
            self._counted = weakref.ref(model), model.num_parameters(exclude_embeddings=True)
        return 6 * elements * self._counted[1]

    def _track_num_input_tokens(self, inputs: dict[str, Any]) -> None:
        """Add the elements of all views, or those that are not padding, as `include_num_input_tokens_seen` says."""
        if self.args.include_num_input_tokens_seen == "no":
            return
        views = list(views_of(inputs))
        common = [name for name in views[0] if all(name in view for view in views)]
        # In one tensor each, so that all processes add up once.
        joined = {name: torch.cat([view[name].flatten() for view in views]) for name in common}
        super()._track_num_input_tokens(joined)


def views_of(inputs: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The keywords of each view of a joint batch, labeled ones first; the inputs themselves if they are no such batch.

    Example:
        >>> batch = {"labeled": {"labeled": {"input_ids": 1}}, "unlabeled": {"weak": {"input_ids": 2}}, "labels": 0}
        >>> list(views_of(batch))
        [{'input_ids': 1}, {'input_ids': 2}]
    """
    if "unlabeled" not in inputs:
        yield dict(inputs)
        return
    for part in ("labeled", "unlabeled"):
        for view in inputs[part].values():
            # Images travel as bytes and become the same number of values on the device.
            yield {"pixel_values" if name == "pixel_bytes" else name: value for name, value in view.items()}
