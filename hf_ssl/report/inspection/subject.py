"""A run as `hf-ssl inspect` found it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...features.label_errors import LabelError
from .parts import Part


@dataclass
class Subject:
    """A run as it was found.

    Args:
        title, subtitle: of the page.
        facts: lines of the summary, [name, value].
        results: what `results.json` holds: "runs", "settings", "versions".
        verdict: which stage was kept, and why.
        command: that repeats the run.
        histories: method -> the log of its training.
        names: of the classes.
        modality, columns: of the inputs.
        parts: "labeled", "pool", "test" -> what is known of their examples.
        label_errors: labels that look wrong, by position in the labeled dataset, the most suspicious first.
        held_out: the answers of the kept method to labels that it had not seen; None without.
        methods: whose predictions are known, the kept one last.
        changes: share of the looks at an example of the pool that found another class, [N]; None if not counted.
        of_pretrained: whether features are those of a model that has not seen the labels.
        notes: what could not be shown, and why.
        absent: why nothing is shown of classes and single examples, a sentence; None if it is.
    """

    title: str
    subtitle: str = ""
    facts: list[list[str]] = field(default_factory=list)
    results: Mapping[str, Any] = field(default_factory=dict)
    verdict: str | None = None
    command: str = ""
    histories: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    names: Sequence[str] = ()
    modality: str = ""
    columns: tuple[str, ...] = ()
    parts: dict[str, Part] = field(default_factory=dict)
    label_errors: Sequence[LabelError] = ()
    held_out: Part | None = None
    methods: list[str] = field(default_factory=list)
    changes: np.ndarray | None = None
    of_pretrained: bool = False
    notes: list[str] = field(default_factory=list)
    absent: str | None = None

    @property
    def kept(self) -> str | None:
        """The method of the model that was kept, if its predictions are known."""
        return self.methods[-1] if self.methods else None
