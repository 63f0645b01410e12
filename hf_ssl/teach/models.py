"""Teachers: models that say how probable each class is for an input, without having been trained on the labels here.

    CLIP, SigLIP, ...              zero-shot-image-classification  \\
    CLAP                           zero-shot-audio-classification   \\   pipelines of transformers
    entailment (NLI)               zero-shot-classification         /
    a classifier of these classes  image-, text-, audio-classification /
    any model that writes text     continuations.py
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from transformers import pipeline
from transformers.models.auto import modeling_auto
from transformers.utils import logging

from ..data.spelling import matched
from ..modality import MODALITIES
from ..model.folder import loading_error
from ..model.limits import text_limit
from ..model.loading import load_config
from .continuations import Writer

# Task of transformers.pipeline -> modality, and the table of its models.
_ZERO_SHOT = {
    "zero-shot-image-classification": ("image", "MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING_NAMES"),
    "zero-shot-audio-classification": ("audio", None),
}
_TEMPLATES = {
    "zero-shot-image-classification": "This is a photo of {}.",
    "zero-shot-audio-classification": "This is a sound of {}.",
    "zero-shot-classification": "This example is {}.",
    "text-generation": "Text: {}\nClass:",
}
# Besides a softmax of logits, SigLIP's pipeline gives each class a probability of its own.
_SMALLEST = 1e-30


@dataclass(frozen=True)
class Kind:
    """How a model is asked.

    Args:
        task: of `transformers.pipeline`, or "text-generation".
        modality: of its inputs.
        template: what the name of a class is put into, at {}; of "text-generation", what the text is put into. None
            for a classifier, which has learned its classes.
    """

    task: str
    modality: str
    template: str | None


def kind_of(model: str) -> Kind:
    """What kind of teacher a model is, from its configuration.

    Args:
        model: Hub id or folder.

    Raises:
        ValueError: in one line, if there is no such model, or it is none of these kinds.
    """
    config = load_config(model)
    architecture = (getattr(config, "architectures", None) or [""])[0]
    for task, (modality, table) in _ZERO_SHOT.items():
        known = {"ClapModel"} if table is None else _names(getattr(modeling_auto, table))
        if architecture in known:
            return Kind(task, modality, _TEMPLATES[task])
    for modality, row in MODALITIES.items():
        if architecture in _names(row.configurations()._model_mapping) or (
            modality == "image" and config.model_type == "timm_wrapper"
        ):
            entails = modality == "text" and any(_is_entailment(name) for name in (config.id2label or {}).values())
            task = "zero-shot-classification" if entails else row.pipeline
            return Kind(task, modality, _TEMPLATES.get(task))
    if architecture in _names(modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES):
        return Kind("text-generation", "text", _TEMPLATES["text-generation"])
    raise ValueError(
        "--model must be CLIP- or SigLIP-like, CLAP, a model of entailment, a model that writes text or a classifier, "
        f"got {model}, whose architecture is {architecture or 'not given'}; choose another"
    )


def _is_entailment(name: str) -> bool:
    # As the pipeline recognizes it.
    return str(name).lower().startswith("entail")


def _names(table: Mapping[Any, Any]) -> set[str]:
    names: set[str] = set()
    for value in table.values():
        names |= {value} if isinstance(value, str) else set(value)
    return names


class Teacher:
    """Asks a model for the probabilities of classes, one batch at a time.

    Args:
        model: Hub id or folder. Code that comes with a model is never run.
        classes: names of the classes, as the model is to read them.
        template: see `Kind.template`; None for the kind's own.
        batch_size: inputs for each call of the model.
        device: as torch names it; None takes the fastest one.

    Raises:
        ValueError, OSError: in one line, if the model cannot be loaded, or is a classifier of other classes.

    Note:
        Zero-shot pipelines encode the names of the classes again for each batch; entailment takes a pass of the
        model for each class and input. A model that writes text reads an input once, and the names behind it, if its
        architecture can (`Writer.shares`).
    """

    def __init__(
        self,
        model: str,
        classes: Sequence[str],
        template: str | None = None,
        batch_size: int = 16,
        device: str | None = None,
    ):
        self.kind = kind_of(model)
        self.classes, self.template = list(classes), template or self.kind.template
        if template is not None:
            check_template(template, self.kind)
        self._batch_size = batch_size
        logging.disable_progress_bar()
        try:
            if self.kind.task == "text-generation":
                self._writer = Writer(model, self.classes, str(self.template), batch_size, device)
            else:
                task = cast(Any, self.kind.task)  # the stub has one overload for each task
                self._pipeline: Any = pipeline(task, model=model, device=device, trust_remote_code=False)
                if self.kind.modality == "text":
                    # Where pipelines cut texts; many tokenizers do not know their model's limit.
                    tokenizer = self._pipeline.tokenizer
                    tokenizer.model_max_length = text_limit(self._pipeline.model, tokenizer)
        except Exception as error:  # of any kind, if its files are damaged
            raise loading_error(model, error, f"cannot be used on {device or 'this device'}") from None
        self._places = self._own_classes(model) if self.kind.template is None else []
        if self.kind.task == "text-classification" and self._pipeline.tokenizer.pad_token_id is None:
            self._batch_size = 1

    def __call__(self, values: Sequence[Any]) -> list[np.ndarray | str]:
        """The probabilities [C] of each value, or why there are none, in one line.

        Args:
            values: paths or {"bytes", "path"} of images or recordings, texts, or the errors of rows that hold nothing.
        """
        prepare = self._preparation()
        answers: list[Any] = []
        for value in values:
            try:
                if isinstance(value, Exception):
                    raise value
                answers.append(prepare(value))
            except Exception as error:  # whatever a library raises about one input is that input's error
                answers.append(_Unreadable(" ".join(str(error).split()) or type(error).__name__))
        readable = [answer for answer in answers if not isinstance(answer, _Unreadable)]
        found = iter(self._ask(readable) if readable else ())
        return [answer.reason if isinstance(answer, _Unreadable) else next(found) for answer in answers]

    def _own_classes(self, model: str) -> list[int]:
        """The places of the asked classes among those of a classifier."""
        config = self._pipeline.model.config
        names = [str(config.id2label[index]) for index in range(config.num_labels)]
        order = matched(self.classes, names)
        if order is None:
            raise ValueError(
                f"--model must know the classes {', '.join(self.classes[:10])}, got {model}, a classifier of "
                f"{', '.join(names[:10])}; choose another, or one that takes names of classes"
            )
        return order

    def _preparation(self) -> Callable[[Any], Any]:
        # Each needs packages of its modality only.
        if self.kind.modality == "image":
            from ..views.image_decoding import decode_image

            return decode_image
        if self.kind.modality == "audio":
            from ..views.audio import decode

            rate = self._pipeline.feature_extractor.sampling_rate
            return lambda value: decode(value, rate)
        return _as_text

    def _ask(self, inputs: list[Any]) -> list[np.ndarray]:
        if self.kind.task == "text-generation":
            return list(self._writer(inputs))
        if self.kind.template is None:
            return [self._of_classifier(answer) for answer in self._classify(inputs)]
        answers = self._pipeline(
            inputs,
            candidate_labels=self.classes,
            hypothesis_template=self.template,
            batch_size=min(self._batch_size, len(inputs)),
        )
        if self.kind.task == "zero-shot-classification":
            answers = [
                [{"label": label, "score": score} for label, score in zip(each["labels"], each["scores"], strict=True)]
                for each in answers
            ]
        return [self._by_name(answer) for answer in answers]

    def _classify(self, inputs: list[Any]) -> list[Any]:
        options: dict[str, Any] = {"top_k": len(self.classes), "batch_size": min(self._batch_size, len(inputs))}
        if self.kind.modality == "text":
            options |= {"truncation": True}
        return self._pipeline(inputs, **options)

    def _by_name(self, answer: Sequence[Mapping[str, Any]]) -> np.ndarray:
        scores = {each["label"]: each["score"] for each in answer}
        found = np.array([scores[name] for name in self.classes], dtype=np.float64)
        if "siglip" in str(getattr(self._pipeline.model.config, "model_type", "")):
            # Odds are exp(logit): normalized, they are the softmax of the logits.
            found = found / np.maximum(1 - found, _SMALLEST)
        return _normalized(found)

    def _of_classifier(self, answer: Sequence[Mapping[str, Any]]) -> np.ndarray:
        scores = {str(each["label"]): each["score"] for each in answer}
        config = self._pipeline.model.config
        return _normalized(np.array([scores[str(config.id2label[place])] for place in self._places]))


@dataclass(frozen=True)
class _Unreadable:
    reason: str


def _as_text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("there is no text")
    return value


def _normalized(scores: np.ndarray) -> np.ndarray:
    total = np.maximum(scores, _SMALLEST).sum()
    return (np.maximum(scores, _SMALLEST) / total).astype(np.float32)


def check_template(template: str, kind: Kind) -> None:
    """Raise a ValueError unless a template has one place, written {}, and the kind of model takes one.

    Example:
        >>> check_template("a photo of a cat", Kind("zero-shot-image-classification", "image", "{}"))
        Traceback (most recent call last):
        ValueError: --template must hold {} once, where the name of the class belongs, got 'a photo of a cat'
    """
    if kind.template is None:
        raise ValueError(
            f"--template must be left out for a classifier, which has learned its classes, got {template!r}"
        )
    what = "the text belongs" if kind.task == "text-generation" else "the name of the class belongs"
    if template.count("{}") != 1 or "{" in template.replace("{}", "") or "}" in template.replace("{}", ""):
        raise ValueError(f"--template must hold {{}} once, where {what}, got {template!r}")
