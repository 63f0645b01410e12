"""The contract of a view maker: from a row of the dataset to what a model takes.

    row --views(kind, row, rng)---> item \\
    row --views.evaluation(row)---> item  --collate(items)--> {"pixel_values": [N, ...], ...}

`collate` is `finish` of `stack`: a worker stacks, and the training process finishes, on its device.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

Row = Mapping[str, Any]
ModelKeywords = dict[str, torch.Tensor]


class Views(ABC):
    """Makes weak and strong views of single rows, and stacks them. Picklable, since workers get a copy.

    A subclass makes views, the view for predictions, and stacks items; all else has a default. An item is anything
    that `collate` can stack: a tensor, a list of token ids, a waveform.

    A row that cannot be read raises `hf_ssl.errors.BrokenExampleError`.

    Attributes:
        modality: "image", "text" or "audio".
        shares_decoding: whether all views of one draw are made from one `example(row)`, because reading a file can
            take longer than the views themselves.

    Example:
        >>> class Numbers(Views):
        ...     modality = "image"
        ...     def __call__(self, kind, row, rng):
        ...         return torch.tensor(row["x"] + (rng.normal() if kind == "strong" else 0.0))
        ...     def evaluation(self, row):
        ...         return torch.tensor(row["x"])
        ...     def collate(self, items):
        ...         return {"x": torch.stack(items)}
        >>> views = Numbers()
        >>> items = [views("weak", {"x": 1.0}, np.random.default_rng(0)), views.evaluation({"x": 2.0})]
        >>> views.finish(views.stack(items))
        {'x': tensor([1., 2.])}
    """

    modality: str
    shares_decoding: bool = False

    @abstractmethod
    def __call__(self, kind: str, row: Row, rng: np.random.Generator) -> Any:
        """The view of a row, as an item.

        Args:
            kind: "weak", "medium" (between the two), "strong" or, for images, "rotated", which returns the item and
                its quarter turns, 0 to 3.
            row: columns of the dataset.
            rng: of this example, this draw and this view; the only source of random numbers.

        Raises:
            ValueError: if there is no view of this kind.
        """

    @abstractmethod
    def evaluation(self, row: Row) -> Any:
        """The item that predictions are made from, as the model's own processor makes it."""

    @abstractmethod
    def collate(self, items: Sequence[Any]) -> ModelKeywords:
        """Stack items into keywords of the model, each a tensor whose first axis is the example."""

    def stack(self, items: Sequence[Any]) -> ModelKeywords:
        """The half of `collate` that a worker does; by default all of it."""
        return self.collate(items)

    def finish(self, view: ModelKeywords) -> ModelKeywords:
        """The half of `collate` that the training process does on its device; by default nothing."""
        return dict(view)

    def example(self, row: Row) -> Row:
        """The row with its file decoded, which is what a custom callable receives; by default the row itself."""
        return row

    def accept(self, value: Any) -> Any:
        """Turn an image, a text or a waveform that a custom callable returned into an item.

        Raises:
            TypeError: if it is something else; by default always.
        """
        raise TypeError(f"{type(self).__name__} turns no raw values into items; return a dict of model inputs")

    def content_free(self, row: Row) -> Any:
        """An item that says nothing of a class: a gray image, a text of a mask token, silence.

        Args:
            row: any; of its size, not of its content.

        Raises:
            ValueError: if there is none; by default always.
        """
        name = type(getattr(self, "maker", self)).__name__
        raise ValueError(
            f"{name} makes no input without content; let it define content_free(row), or choose another correction "
            "than cdmad"
        )

    def check(self, row: Row) -> None:
        """Before the first step: see that a view without augmentation is what predictions of a row are made from.

        A view maker that finds a difference gives up the shortcut that causes it. By default nothing is compared.
        """
        return

    def problem(self, kind: str) -> str | None:
        """Why there is no view of this kind and what to do, in one line; None if there is one, the default."""
        return None

    def describe(self) -> dict[str, str]:
        """View kind -> one sentence for the log and the model card; by default nothing is said."""
        return {}


class _Adapted(Views):
    """An object with some of the methods of `Views`, completed with the defaults."""

    def __init__(self, maker: Any):
        self.maker = maker
        self.modality = getattr(maker, "modality", "")
        self.shares_decoding = getattr(maker, "shares_decoding", False)
        for name in ("stack", "finish", "example", "accept", "content_free", "check", "problem", "describe"):
            if hasattr(maker, name):
                setattr(self, name, getattr(maker, name))

    def __call__(self, kind: str, row: Row, rng: np.random.Generator) -> Any:
        return self.maker(kind, row, rng)

    def evaluation(self, row: Row) -> Any:
        return self.maker.evaluation(row)

    def collate(self, items: Sequence[Any]) -> ModelKeywords:
        return self.maker.collate(items)


def as_views(maker: Any) -> Views:
    """A view maker as `Views`: itself if it is one, or an object of another class completed with the defaults.

    This is the only place that looks which methods a view maker has; everything else calls them.

    Args:
        maker: a callable on (kind, row, rng) with `evaluation` and `collate`, and any other attributes of `Views`.

    Raises:
        TypeError: if it cannot make views or stack them.

    Example:
        >>> as_views("weak")
        Traceback (most recent call last):
        TypeError: views must be an hf_ssl.views.Views or have its methods, got a str; derive its class from Views
    """
    if isinstance(maker, Views):
        return maker
    if not callable(maker) or not hasattr(maker, "collate"):
        kind = type(maker).__name__
        raise TypeError(
            f"views must be an hf_ssl.views.Views or have its methods, got a {kind}; derive its class from Views"
        )
    return _Adapted(maker)
