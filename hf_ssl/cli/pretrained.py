"""What a model's folder or Hub id says about itself: what it classifies."""

from pathlib import Path

from transformers import AutoConfig
from transformers.models.auto import modeling_auto

from ..modality import PIPELINES

MAPPINGS = {
    "image": modeling_auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING,
    "text": modeling_auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    "audio": modeling_auto.MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING,
}
WORDS = {"image": "images", "text": "texts", "audio": "recordings"}


def modalities(config) -> list[str]:
    """What a model of this configuration can classify, of "image", "text" and "audio"."""
    return [modality for modality, mapping in MAPPINGS.items() if type(config) in mapping]


def classified_by(model: str) -> list[str]:
    """The modalities for which transformers has a classifier of this model's type.

    Raises:
        ValueError: if there is no such model, or none of its type classifies.
    """
    config = load_config(model)
    able = modalities(config)
    if not able:
        raise ValueError(
            f"{model} ({config.model_type}) has no classification head for images, texts or recordings; choose another --model"
        )
    return able


def check_modality(model: str, able: list[str], modality: str) -> None:
    """Raise a ValueError unless the modality is among those of the model."""
    if modality not in able:
        kinds = " and ".join(WORDS[name] for name in able)
        raise ValueError(
            f"the labeled examples are {WORDS[modality]} and {model} classifies {kinds}; choose another --model, or another "
            f"--input_column if {WORDS[modality]} are not what you meant"
        )


def load_config(model: str):
    """The model's configuration.

    Raises:
        ValueError: in one line, if there is none under that name.
    """
    _check_folder(model, "config.json")
    try:
        return AutoConfig.from_pretrained(model)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"no model {model} was found: {error}") from None


def pipeline_task(model: str) -> str:
    """The task of `transformers.pipeline` for a classifier, from its architecture or else from its card.

    Raises:
        ValueError: if the model is no classifier of images, texts or audio.
    """
    if Path(model).is_dir() and not Path(model, "config.json").is_file() and (tag := _card_tag(model)):
        return tag
    config = load_config(model)
    architecture = (getattr(config, "architectures", None) or [""])[0]
    able = [
        modality
        for modality, mapping in MAPPINGS.items()
        if architecture in _names(mapping) or (modality == "image" and config.model_type == "timm_wrapper")
    ]
    if len(able) == 1:
        return PIPELINES[able[0]]
    if tag := _card_tag(model):
        return tag
    raise ValueError(
        f"{model} is no classifier of images, texts or audio: its architecture is {architecture or 'not stated'}; "
        "give the folder or Hub id of a trained classifier, such as the output of `hf-ssl train`"
    )


def _names(mapping) -> list[str]:
    names = []
    for value in mapping._model_mapping.values():
        names += [value] if isinstance(value, str) else list(value)
    return names


def _card_tag(model: str) -> str | None:
    from huggingface_hub import ModelCard

    try:
        tag = ModelCard.load(str(Path(model, "README.md")) if Path(model).is_dir() else model).data.pipeline_tag
    except (OSError, ValueError):
        return None
    return tag if tag in PIPELINES.values() else None


def _check_folder(model: str, file: str) -> None:
    if Path(model).is_file():
        raise ValueError(f"{model} is a file; give the folder that holds the model, or its Hub id")
    if Path(model).is_dir():
        if not Path(model, file).is_file():
            raise ValueError(f"the folder {model} holds no model: {file} is missing")
    elif model.startswith((".", "/", "~")) or model.count("/") > 1:
        raise ValueError(f"there is no folder {model}, and ids of Hub models have one slash at most")
