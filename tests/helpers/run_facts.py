"""The facts of a run that nobody trained, for tests of what is written from them."""

import dataclasses

import numpy as np
from transformers import TrainerState

from hf_ssl import SSLConfig, get_algorithm
from hf_ssl.data.columns import DataSummary
from hf_ssl.data.labels import Classes
from hf_ssl.hub.card_facts import ModelFacts
from hf_ssl.report.run import RunFacts

SIZES = {"num_labeled": 6, "num_unlabeled": 24, "feature_size": 4, "labeled_batch_size": 2, "unlabeled_batch_size": 4}


def make_run(
    algorithm: str = "fixmatch",
    history: tuple[dict, ...] = (),
    state: dict | None = None,
    args: dict | None = None,
    names: tuple[str, ...] = ("dark", "middle", "bright"),
    modality: str = "image",
    columns: tuple[str, ...] = ("image",),
    **changes,
) -> RunFacts:
    """A run of 10 steps on six labeled images of three classes; `state` and `args` are changes of those two parts."""
    classes = Classes(list(names), {name: index for index, name in enumerate(names)}, named=True)
    settings = {"max_steps": 10, "per_device_train_batch_size": 2, "unlabeled_batch_ratio": 2, "use_cpu": True}
    facts = RunFacts(
        args=SSLConfig(output_dir="somewhere", algorithm=algorithm, **{**settings, **(args or {})}),
        state=TrainerState(**{"max_steps": 10, "global_step": 10, "log_history": list(history), **(state or {})}),
        data=DataSummary(modality, columns, "label", classes, np.array([0, 1, 2, 0, 1, 2])),
        algorithm=get_algorithm(algorithm, num_classes=len(names), modality=modality, **SIZES),
        algorithm_name=algorithm,
        num_labeled=6,
        num_unlabeled=24,
        hidden_labels=False,
        evaluation_sizes={"": 12},
        views={"weak": "as it is", "strong": "upside down"},
    )
    return dataclasses.replace(facts, **changes)


def make_model(**changes) -> ModelFacts:
    """The model of such a run."""
    facts = ModelFacts(public_name="someone/shades", architecture="ViTForImageClassification", trainable=2739)
    return dataclasses.replace(facts, **changes)
