"""Long tails in `hf-ssl train`: what --imbalance may be, and what is said of the labeled classes."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..algorithms import BY_PROBLEM_TYPE, IMBALANCE, get_algorithm, known_correction, known_name
from ..class_sizes import Imbalance
from ..data.columns import DataSummary
from ..features.distillation import FeatureDistillation
from ..problem_types import SINGLE_LABEL
from ..training.recommended import Recommendation
from .train_options import STAGED

# Works with every algorithm, and needs no pool-sized state, no teacher and no rounds.
_ADVISED = "logit_adjustment"


def check_correction(settings: dict[str, Any]) -> None:
    """Spell `imbalance` as the table does, and refuse what cannot work, before anything is loaded.

    Args:
        settings: keywords of SSLConfig; of `auto` it is not known yet what it fine-tunes with (`correctable`).

    Raises:
        ValueError, TypeError: in one line: for an unknown correction, settings that it does not have, or an algorithm
            that it cannot correct.
    """
    if settings["imbalance"] is None:
        if settings["imbalance_kwargs"]:
            raise ValueError(f"--imbalance-kwargs needs --imbalance NAME, one of {', '.join(IMBALANCE)}")
        return
    settings["imbalance"] = known_correction(settings["imbalance"])
    settings["imbalance_kwargs"] = _parsed(settings["imbalance_kwargs"])
    if settings["algorithm"] == "features":
        raise ValueError(
            "--imbalance corrects a training, and --algorithm features trains nothing: its class shares follow labels "
            "and pool; choose auto or the name of an algorithm, or leave --imbalance out"
        )
    if settings["algorithm"] not in STAGED:
        _try(settings["algorithm"], settings)


def correctable(advice: Recommendation, settings: Mapping[str, Any]) -> Recommendation:
    """What `auto` fine-tunes with: as advised or, if a correction does not go with that, FreeMatch or FixMatch.

    Their settings are those of short runs, as in the row of recordings.

    Raises:
        ValueError, TypeError: as `check_correction`, if it goes with none of them.
    """
    if settings["imbalance"] is None:
        return advice
    others = {"freematch": {"momentum": 0.9}, "fixmatch": {"threshold": 0.8}}
    choices = [advice, *(replace(advice, algorithm=name, algorithm_kwargs=own) for name, own in others.items())]
    refused = None
    for choice in choices:
        try:
            _try(FeatureDistillation if choice.algorithm == "distillation" else choice.algorithm, settings)
        except ValueError as error:
            refused = refused or error
        else:
            return choice
    raise ValueError(f"--imbalance {settings['imbalance']}: {refused}") from None


def _try(algorithm: Any, settings: Mapping[str, Any]) -> None:
    sizes: dict[str, Any] = {"num_labeled": 2, "num_unlabeled": 2, "labeled_batch_size": 1, "unlabeled_batch_size": 1}
    if algorithm is FeatureDistillation:
        sizes["targets"] = np.full((2, 2), 0.5)
    correction: dict[str, Any] = {name: settings[name] for name in ("imbalance", "imbalance_kwargs")}
    correction["class_counts"] = [1, 1]
    # One for several labels or numbers alone is refused because of these, whatever the labels are.
    tables = BY_PROBLEM_TYPE.items() if isinstance(algorithm, str) else ()
    kind = next((kind for kind, table in tables if known_name(algorithm) in table), SINGLE_LABEL)
    get_algorithm(algorithm, num_classes=2, feature_size=2, problem_type=kind, **correction, **sizes)


def _parsed(given: Any) -> Any:
    """Settings that were given as JSON."""
    try:
        return json.loads(given) if isinstance(given, str) else given
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(
            f"--imbalance-kwargs must be JSON, got {given!r}: {error}; an example is '{{\"tau\": 2}}'"
        ) from None


def imbalance_note(data: DataSummary, settings: Mapping[str, Any], by_balance: bool = False) -> str | None:
    """What is said of the sizes of the labeled classes, in one line; None if there is nothing to say.

    Args:
        data: with the labeled classes.
        settings: keywords of SSLConfig.
        by_balance: whether balanced accuracy chooses the best checkpoint of imbalanced labels (`balance_decides`).

    Example:
        >>> import numpy as np
        >>> from hf_ssl.data.labels import Classes
        >>> classes = Classes(["cat", "dog"], {"cat": 0, "dog": 1}, named=True)
        >>> data = DataSummary("text", ("text",), "label", classes, np.array([0] * 40 + [1] * 4))
        >>> imbalance_note(data, {"algorithm": "fixmatch", "imbalance": None})  # doctest: +ELLIPSIS
        "Imbalanced labels: 'cat' has about 9 times the labels of 'dog' (3 to 24 times at 95 %); nothing ...
    """
    if data.problem_type != SINGLE_LABEL:
        return None
    found = Imbalance.of(np.bincount(data.labels, minlength=len(data.label_names)))
    chosen = settings["imbalance"]
    if not found.is_clear:
        if chosen is None:
            return None
        return (
            f"The labels are not clearly imbalanced: {found.describe(data.label_names)}; {chosen} may change little."
        )
    sizes = f"Imbalanced labels: {found.describe(data.label_names)}"
    if by_balance:
        sizes += "; the best checkpoint goes by balanced accuracy"
    if settings["algorithm"] in STAGED:
        sizes += "; frozen features go by shares estimated from labels and pool"
    if chosen is not None:
        correction = IMBALANCE[chosen]
        return f"{sizes}; the training is corrected by {chosen}: {correction.summary}."
    if settings["algorithm"] == "features":
        return f"{sizes}."
    return f"{sizes}; nothing corrects the training: --imbalance {_ADVISED} would ({IMBALANCE[_ADVISED].summary})."
