"""A trained classifier as `hf-ssl predict` and `hf-ssl evaluate` use it: some of its inputs may be broken."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from transformers import AudioClassificationPipeline, BatchFeature, pipeline
from transformers.utils import logging

from ..model.folder import loading_error
from ..model.limits import text_limit
from .inputs import Item
from .pretrained import trained_modality

HEADER = ("input", "row", "label", "probability")


@dataclass
class Answer:
    """Probabilities in [0, 1] by class, the most probable first; or, if the input could not be read, the error."""

    probabilities: dict[str, float]
    error: str = ""


class Classifier:
    """A pipeline that answers every input, broken ones with an error.

    Args:
        model: folder or Hub id.
        batch_size: inputs per call of the model, at least 1. Recordings that are not cut to one length, and images of
            which the model's processor makes different shapes, are classified one by one.
        device: as torch names it; None takes the fastest one.

    Raises:
        ValueError, OSError: if there is no such classifier, or it cannot be used on the device.

    Note:
        The model gets the tensors that it was trained and evaluated on: texts are cut at the limit that was saved with
        the tokenizer (at most at the model's positions), recordings at the one saved with the feature extractor, and
        shorter ones are padded to it. Recordings of a model that was saved without a length are classified whole, one
        by one: to share a batch they would have to be padded, which changes the answers of models that take no mask.
    """

    def __init__(self, model: str, batch_size: int = 16, device: str | None = None):
        if batch_size < 1:
            raise ValueError(f"--batch-size must be at least 1, got {batch_size}")
        kind = trained_modality(model)
        self.modality = kind.name
        logging.disable_progress_bar()
        try:
            # The stub has one overload per task and none for a task that is only known at run time.
            given = {"pipeline_class": _AudioPipeline} if self.modality == "audio" else {}
            self.pipeline: Any = pipeline(cast(Any, kind.pipeline), model=model, device=device, **cast(Any, given))
        except Exception as error:  # of any kind, if its files are damaged
            raise loading_error(model, error, f"cannot be used on {device or 'this device'}") from None
        config = self.pipeline.model.config
        self.names: list[str] = [config.id2label.get(index) for index in range(config.num_labels)]
        if len(set(self.names) - {None}) < config.num_labels:
            raise ValueError(
                f"{model} must name each of its {config.num_labels} classes, and each differently, got id2label "
                f"{config.id2label!s:.80}; correct its config.json"
            )
        self.clips = _clips(self.pipeline.feature_extractor) if self.modality == "audio" else None
        one_by_one = self.modality == "audio" and self.clips is None
        one_by_one |= self.modality == "image" and not _makes_one_shape(self.pipeline.image_processor)
        self.batch_size = 1 if one_by_one else batch_size

    def __call__(self, values: Sequence[Any]) -> Iterator[Answer]:
        """The answer to each value, in order."""
        errors: dict[int, str] = {}
        answers = iter(self.pipeline(self._decoded(values, errors), batch_size=self.batch_size, **self._options()))
        ready: list[Answer] = []
        for index in range(len(values)):
            # The pipeline reads a batch ahead: once the next answer is there, all errors up to this input are known.
            if index not in errors and not ready:
                answer = next(answers, None)
                if answer is not None:
                    ready.append(_answer_of(answer))
            yield Answer({}, errors[index]) if index in errors else ready.pop()

    def _options(self) -> dict[str, Any]:
        if self.modality != "text":
            return {"top_k": len(self.names)}
        tokenizer = self.pipeline.tokenizer
        length = text_limit(self.pipeline.model, tokenizer)
        # As in training: without a mask to hide it, padding must not depend on the other texts of a batch.
        padding = False if "attention_mask" in tokenizer.model_input_names else "max_length"
        return {"top_k": len(self.names), "truncation": True, "max_length": length, "padding": padding}

    def _decoded(self, values: Sequence[Any], errors: dict[int, str]) -> Iterator[Any]:
        """The values that can be read, as the pipeline takes them; `errors` collects the others by position."""
        decode = self._decoder()
        for index, value in enumerate(values):
            try:
                decoded = decode(value)
            except (ValueError, OSError) as error:
                errors[index] = " ".join(str(error).split())
                continue
            yield decoded

    def _decoder(self) -> Callable[[Any], Any]:
        # Each needs packages of its modality only, which the others must not ask for.
        if self.modality == "image":
            from ..views.image import decode_image

            return decode_image
        if self.modality == "audio":
            from ..views.audio import decode

            rate = self.pipeline.feature_extractor.sampling_rate
            clips = self.clips
            if clips is None:
                return lambda value: decode(value, rate)
            return lambda value: BatchFeature(clips.collate([clips.accept(decode(value, rate))]))
        return _as_text


def _answer_of(rows: Sequence[dict[str, Any]]) -> Answer:
    """What the pipeline says about one input; no class follows from scores that are not finite."""
    if any(math.isnan(row["score"]) for row in rows):
        return Answer({}, "the model's scores are NaN; its weights are damaged, or the input has extreme values")
    return Answer({row["label"]: float(row["score"]) for row in rows})


def _makes_one_shape(processor: Any) -> bool:
    """Whether what an image processor makes of different pictures can share a batch."""
    from ..views.image_processor import FollowedProcessor

    try:
        FollowedProcessor(processor)
    except ValueError:
        return False
    return True


def _as_text(value: Any) -> Any:
    texts = list(value) if isinstance(value, list | tuple) else [value]
    if any(not isinstance(text, str) or not text.strip() for text in texts):
        raise ValueError("there is no text")
    return texts[0] if len(texts) == 1 else {"text": texts[0], "text_pair": texts[1]}


def as_rows(items: Sequence[Item], answers: Sequence[Answer], top: int) -> tuple[list[str], list[list[str]]]:
    """Header and cells of the table: input, row, then label and probability `top` times, and the error.

    Example:
        >>> header, rows = as_rows([Item("cat.jpg", None, "cat.jpg")], [Answer({"cat": 0.75, "dog": 0.25})], top=1)
        >>> header
        ['input', 'row', 'label', 'probability', 'error']
        >>> rows
        [['cat.jpg', '', 'cat', '0.7500', '']]
    """
    header = [*HEADER, *(f"{name}_{k}" for k in range(2, top + 1) for name in HEADER[2:]), "error"]
    rows = []
    for item, answer in zip(items, answers, strict=True):
        best = [cell for label, p in list(answer.probabilities.items())[:top] for cell in (label, f"{p:.4f}")]
        best += [""] * (2 * top - len(best))
        rows.append([item.name, "" if item.row is None else str(item.row), *best, answer.error])
    return header, rows


class _AudioPipeline(AudioClassificationPipeline):
    """transformers' pipeline, which also takes the model's inputs instead of a recording."""

    def preprocess(self, *args: Any, **options: Any) -> Any:
        (inputs,) = args
        if not isinstance(inputs, BatchFeature):
            return super().preprocess(inputs, **options)
        return inputs if self.dtype is None else inputs.to(dtype=self.dtype)


def _clips(feature_extractor: Any) -> Any:
    """Cuts and pads recordings as training did, if it has left its length in the feature extractor; else None."""
    # Not at the top: recordings need packages that images and texts must not ask for.
    from ..views.audio import AudioViews, saved_seconds

    return None if saved_seconds(feature_extractor) is None else AudioViews(feature_extractor)
