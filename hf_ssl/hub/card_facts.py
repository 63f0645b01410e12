"""What a model card says besides the run: what only a person knows, and what is known of the model and its data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .provenance import DataSource


@dataclass
class CardFacts:
    """What a card says and the trainer cannot see; what is filled in once is in every later card, too.

    Args:
        name: title of the card; None for the name of the output folder, or of the repository.
        dataset: what the labeled examples are, as a Hub id or in words; None to find it from the dataset.
        license, base_model: for the metadata; None for those of the model that training started from, if it is on the
            Hub.
        language: of the texts, such as "en".
        tags: more tags than every model of this package has.
        command: the command line that repeats the run.
        stages: rows of `results.json`, if the model is the best of several stages.
        verdict: why it is the one that was kept.
        calibration: whether its probabilities can be trusted, in sentences.
    """

    name: str | None = None
    dataset: str | None = None
    license: str | None = None
    base_model: str | None = None
    language: str | None = None
    tags: list[str] = field(default_factory=list)
    command: str | None = None
    stages: list[dict[str, Any]] = field(default_factory=list)
    verdict: str | None = None
    calibration: str | None = None


@dataclass(frozen=True)
class ModelFacts:
    """What is known of a trained model and of where it and its data come from; no path, account or token.

    Args:
        public_name: the repository's id, or the name of the output folder.
        architecture: name of the model's class; of an adapter that of its base model.
        trainable: number of trainable parameters.
        adapter: whether it is an adapter of PEFT.
        base_model: Hub id of the model that training started from; None if it is not on the Hub.
        labeled, unlabeled: where the datasets were loaded from.
        evaluation: the same by the names of the evaluation datasets; a single one has the name "".
        labeled_hash: SHA-256 of the labeled set; None for a large one.
        hardware: devices and precision in words.
        baseline: the row of `results.json` of a training on the labels alone, if there was one.
        label_thresholds: of several labels, the probabilities in the model's configuration from which on an input has
            them; None if it has none.
        curves, class_recalls: whether curves.png and class_recalls.png are beside the card.
    """

    public_name: str
    architecture: str
    trainable: int
    adapter: bool = False
    base_model: str | None = None
    labeled: DataSource = field(default_factory=DataSource)
    unlabeled: DataSource = field(default_factory=DataSource)
    evaluation: Mapping[str, DataSource] = field(default_factory=dict)
    labeled_hash: str | None = None
    hardware: str = "not known"
    baseline: Mapping[str, float] | None = None
    label_thresholds: Sequence[float] | None = None
    curves: bool = False
    class_recalls: bool = False
