"""What a model's folder or Hub id says about itself: which modalities it can classify, or was trained to classify."""

from pathlib import Path

from huggingface_hub import ModelCard

from ..documents import parse_yaml, read_text
from ..hub.upload import BASE_CONFIG
from ..modality import MODALITIES, Modality
from ..model.folder import check_folder, check_size
from ..model.loading import load_config
from ..problem_types import IN_WORDS, MULTI_LABEL, REGRESSION, SINGLE_LABEL


def classified_by(model: str) -> list[str]:
    """The modalities for which transformers has a classifier of this model's type.

    Args:
        model: Hub id or folder.

    Raises:
        ValueError: if there is no such model, or transformers has no classifier of its type.
    """
    _check_folder(model)
    config = load_config(model)
    able = [kind.name for kind in MODALITIES.values() if type(config) in kind.configurations()]
    if not able:
        raise ValueError(
            f"--model must be able to classify images, texts or recordings, got {model}: transformers has no "
            f"classifier of the type {config.model_type}; choose another --model"
        )
    return able


def check_modality(model: str, able: list[str], modality: str) -> None:
    """Raise a ValueError unless `modality`, that of the labeled examples, is one of those the model can classify.

    Example:
        >>> check_modality("someone/model", ["image"], "text")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        ValueError: --model must classify texts, as the labeled examples are, got someone/model, ...
    """
    if modality in able:
        return
    found = MODALITIES[modality].plural
    kinds = " and ".join(MODALITIES[name].plural for name in able)
    raise ValueError(
        f"--model must classify {found}, as the labeled examples are, got {model}, which classifies {kinds}; choose "
        f"another --model, or another --input-column if you did not mean {found}"
    )


def trained_problem_type(model: str) -> str | None:
    """The kind of problem that a trained model's configuration names, one of `hf_ssl.problem_types`; None without one.

    Args:
        model: Hub id or folder; of an adapter, whose configuration is that of its base model with these classes.
    """
    base = Path(model, BASE_CONFIG).parent
    place = str(base if base.is_dir() else model)
    if Path(place).is_dir() and not Path(place, "config.json").is_file():
        return None
    return getattr(load_config(place), "problem_type", None)


def require_one_class(model: str, what: str) -> None:
    """Raise a ValueError if a trained model is for several labels or for numbers, which `what` is not for."""
    kind = trained_problem_type(model)
    if kind in (MULTI_LABEL, REGRESSION):
        raise ValueError(
            f"{what} is for models for {IN_WORDS[SINGLE_LABEL]}, got {model}, which is for {IN_WORDS[kind]}; compare "
            "such models with `hf-ssl evaluate`"
        )


def trained_modality(model: str) -> Modality:
    """What a classifier was trained on, from its architecture or, failing that, from its card.

    Args:
        model: Hub id or folder of a trained classifier.

    Raises:
        ValueError: if the model is not a classifier of images, texts or recordings.
    """
    check_folder(model)
    if Path(model).is_dir() and not Path(model, "config.json").is_file() and (kind := _from_card(model)):
        # An adapter: its folder has a card, but no configuration.
        return kind
    _check_folder(model)
    config = load_config(model)
    check_size(model, config)
    architecture = (getattr(config, "architectures", None) or [""])[0]
    able = [kind for kind in MODALITIES.values() if architecture in _architectures(kind)]
    if not able and config.model_type == "timm_wrapper":
        able = [MODALITIES["image"]]
    found = able[0] if len(able) == 1 else _from_card(model)
    if found is None:
        raise ValueError(
            f"MODEL must be a classifier of images, texts or recordings, got {model}, whose architecture is "
            f"{architecture or 'not given'}; give the folder or Hub id of a trained classifier, such as the output of "
            "`hf-ssl train`"
        )
    return found


def _architectures(kind: Modality) -> set[str]:
    """Names of transformers' classifiers of a modality."""
    names: set[str] = set()
    for value in kind.configurations()._model_mapping.values():
        names |= {value} if isinstance(value, str) else set(value)
    return names


def _from_card(model: str) -> Modality | None:
    try:
        if Path(model).is_dir():
            # Its metadata are YAML between two lines of hyphens.
            found = parse_yaml(read_text(Path(model, "README.md")).split("---\n")[1], "README.md")
        else:
            found = ModelCard.load(model).data.to_dict()
        tag = found.get("pipeline_tag")
    except Exception:  # a card may hold anything, and is only a hint
        return None
    return next((kind for kind in MODALITIES.values() if kind.pipeline == tag), None)


def _check_folder(model: str) -> None:
    if Path(model).is_file():
        raise ValueError(f"a model must be a folder or a Hub id, got the file {model}; give the folder that holds it")
    if Path(model).is_dir():
        if not Path(model, "config.json").is_file():
            raise ValueError(f"the folder {model} holds no model: config.json is missing; give another folder")
    elif model.startswith((".", "/", "~")) or model.count("/") > 1:
        raise ValueError(
            f"a model must be a folder or a Hub id (at most one slash), got {model}, but there is no folder {model}; "
            "check it"
        )
