"""A trained classifier as `hf-ssl predict` and `hf-ssl evaluate` use it: some of its inputs may be broken."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, cast

import numpy as np
from transformers import BatchFeature, pipeline
from transformers.pipelines.base import pad_collate_fn
from transformers.utils import cached_file, logging

from ..features.encoder import Encoder
from ..features.foreignness import FILE, Foreignness
from ..model.folder import loading_error
from ..model.limits import text_limit
from ..model.uncertainty import load_uncertainty
from ..problem_types import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from .answers import Answer, Answers, ClassAnswers, LabelAnswers, NumberAnswers
from .pretrained import trained_modality

# So many inputs are held back at most while they are read to fill a batch: a long run of broken files fills none.
_MOST_WAITING = 1024


class Classifier:
    """A pipeline that answers every input, broken ones with an error.

    Args:
        model: folder or Hub id.
        batch_size: inputs per call of the model, at least 1. Recordings that are not cut to one length, images of
            which the model's processor makes different shapes, and texts whose tokenizer has no token to pad with are
            classified one by one.
        device: as torch names it; None takes the fastest one.
        tells_foreign: whether answers tell how foreign an input looks, if the model was saved with what that takes.

    Raises:
        ValueError, OSError: if there is no such classifier, or it cannot be used on the device.

    Note:
        The model gets the tensors that it was trained and evaluated on: texts are cut at the limit that was saved with
        the tokenizer (at most at the model's positions), recordings at the one saved with the feature extractor, and
        shorter ones are padded to it. Recordings of a model that was saved without a length are classified whole, one
        by one: to share a batch they would have to be padded, which changes the answers of models that take no mask.
    """

    def __init__(self, model: str, batch_size: int = 16, device: str | None = None, tells_foreign: bool = False):
        if batch_size < 1:
            raise ValueError(f"--batch-size must be at least 1, got {batch_size}")
        logging.disable_progress_bar()
        kind = trained_modality(model)
        self.modality = kind.name
        try:
            # The stub has one overload per task and none for a task that is only known at run time.
            self.pipeline: Any = pipeline(cast(Any, kind.pipeline), model=model, device=device)
        except Exception as error:  # of any kind, if its files are damaged
            raise loading_error(model, error, f"cannot be used on {device or 'this device'}") from None
        config = self.pipeline.model.config
        self.names: list[str] = [config.id2label.get(index) for index in range(config.num_labels)]
        self.problem_type = _kind_of(config)
        self.thresholds = _thresholds_of(config, self.names)
        if len(set(self.names) - {None}) < config.num_labels:
            raise ValueError(
                f"{model} must name each of its {config.num_labels} classes, and each differently, got id2label "
                f"{config.id2label!s:.80}; correct its config.json"
            )
        self.clips = _clips(self.pipeline.feature_extractor) if self.modality == "audio" else None
        self.batch_size = 1 if self._one_by_one() else batch_size
        path = cached_file(model, FILE, _raise_exceptions_for_missing_entries=False) if tells_foreign else None
        self.foreignness = None if path is None else Foreignness.load(path)
        self._encoder = None if path is None else Encoder(self.pipeline.model, self.modality)
        self.uncertainty = load_uncertainty(model) if self.problem_type == REGRESSION else None

    def told(self, top: int, threshold: float | None = None, foreign_limit: float | None = None) -> Answers:
        """How answers of this kind of problem are told; see there for the arguments.

        Args:
            threshold: of several labels, one for all of them instead of those that were saved with the model.
        """
        if self.problem_type == REGRESSION:
            return NumberAnswers(self.names, self.uncertainty is not None)
        if self.problem_type == MULTI_LABEL:
            thresholds = self.thresholds if threshold is None else dict.fromkeys(self.names, threshold)
            return LabelAnswers(top, thresholds)
        return ClassAnswers(top, threshold, foreign_limit)

    @property
    def foreign_limit(self) -> float | None:
        """How foreign an input may look by the labeled examples; None if answers do not tell."""
        return None if self.foreignness is None else self.foreignness.limit

    def __call__(self, values: Iterable[Any], top_k: int | None = None, with_logits: bool = False) -> Iterator[Answer]:
        """The answer to each value, in order; values are read a batch ahead.

        Args:
            values: inputs, as `hf_ssl.cli.inputs` yields them.
            top_k: how many classes an answer holds, the most probable ones; None holds all.
            with_logits: whether an answer holds the logits of all classes, too.
        """
        for batch in self._batches(self._read(values)):
            readable = [inputs for inputs, _ in batch if inputs is not None]
            answers = iter(self._classified(readable, top_k, with_logits))
            for inputs, error in batch:
                yield Answer({}, error) if inputs is None else next(answers)

    def _one_by_one(self) -> bool:
        if self.modality == "audio":
            return self.clips is None
        if self.modality == "image":
            return not _makes_one_shape(self.pipeline.image_processor)
        return self.pipeline.tokenizer.pad_token_id is None

    def _read(self, values: Iterable[Any]) -> Iterator[tuple[Any, str]]:
        """For each value the model's inputs and "", or None and why there are none."""
        prepare = self._preparation()
        for value in values:
            try:
                if isinstance(value, Exception):
                    raise value
                prepared = prepare(value)
            except Exception as error:  # whatever a library raises about one input is that input's error
                yield None, _one_line(error)
                continue
            yield prepared, ""

    def _batches(self, read: Iterable[tuple[Any, str]]) -> Iterator[list[tuple[Any, str]]]:
        """Runs of inputs, of which `batch_size` could be read, or fewer if many between them could not."""
        batch: list[tuple[Any, str]] = []
        filled = 0
        for inputs, error in read:
            batch.append((inputs, error))
            filled += inputs is not None
            if filled == self.batch_size or len(batch) == self.batch_size + _MOST_WAITING:
                yield batch
                batch, filled = [], 0
        if batch:
            yield batch

    def _classified(self, inputs: list[Any], top_k: int | None, with_logits: bool) -> list[Answer]:
        """The answers to one batch. If the model cannot take it, its inputs one by one, to find out which it is."""
        if not inputs:
            return []
        deviations: np.ndarray | None = None
        try:
            if self.uncertainty is None:
                logits, foreign = self._scores(self._collated(inputs))
            else:
                with self.uncertainty.listening(self.pipeline.model) as uncertainty:
                    logits, foreign = self._scores(self._collated(inputs))
                    deviations = uncertainty.take().numpy()
        except Exception as error:  # as in `_read`
            if len(inputs) == 1:
                return [Answer({}, f"the model cannot take it: {_one_line(error)}")]
            return [answer for single in inputs for answer in self._classified([single], top_k, with_logits)]
        if self.problem_type == REGRESSION:
            return self._numbers(logits, deviations)
        answers = [self._answer(row, top_k) for row in probabilities_of(logits, self.pipeline.model.config)]
        if with_logits:
            for answer, row in zip(answers, logits, strict=True):
                answer.logits = None if answer.error else row
        for answer, score in zip(answers, foreign, strict=False):
            answer.foreign = None if answer.error else float(score)
        return answers

    def _scores(self, inputs: Any) -> tuple[np.ndarray, np.ndarray]:
        """Logits [N, C], and how foreign the inputs look [N], or [0] if nobody asks."""
        if self._encoder is None or self.foreignness is None:
            return self.pipeline.forward(inputs)["logits"].float().numpy(), np.empty(0)
        mask = inputs.get("attention_mask")
        logits, features = self._encoder.listen(lambda: self.pipeline.forward(inputs), mask)
        return logits.numpy(), self.foreignness.scores(features.numpy())

    def _collated(self, inputs: list[Any]) -> Any:
        if self.batch_size == 1:
            return inputs[0]
        part = self.pipeline
        return pad_collate_fn(part.tokenizer, part.feature_extractor or part.image_processor)(inputs)

    def _answer(self, probabilities: np.ndarray, top_k: int | None) -> Answer:
        """No class follows from scores that are not finite."""
        if np.isnan(probabilities).any():
            return Answer({}, "the model's scores are NaN; its weights are damaged, or the input has extreme values")
        best = highest(probabilities, len(self.names) if top_k is None else top_k)
        return Answer({self.names[i]: p for i, p in zip(best, probabilities[best].tolist(), strict=True)})

    def _numbers(self, numbers: np.ndarray, deviations: np.ndarray | None) -> list[Answer]:
        """The answers of a regression, [N, K] in its user's units."""
        answers = []
        for place, row in enumerate(numbers):
            if not np.isfinite(row).all():
                answers.append(Answer({}, "the model's numbers are not finite; its weights are damaged"))
                continue
            spread = {} if deviations is None else dict(zip(self.names, deviations[place].tolist(), strict=True))
            named = dict(zip(self.names, row.tolist(), strict=True))
            answers.append(Answer({}, numbers=named, deviations=spread))
        return answers

    def _preparation(self) -> Callable[[Any], Any]:
        """What makes the model's inputs of a value."""
        # Each needs packages of its modality only, which the others must not ask for.
        preprocess = self.pipeline.preprocess
        if self.modality == "image":
            from ..views.image import decode_image

            return lambda value: preprocess(decode_image(value))
        if self.modality == "audio":
            from ..views.audio import decode

            clips, rate, dtype = self.clips, self.pipeline.feature_extractor.sampling_rate, self.pipeline.dtype
            if clips is None:
                return lambda value: preprocess(decode(value, rate))
            return lambda value: _cast(BatchFeature(clips.collate([clips.accept(decode(value, rate))])), dtype)
        tokenizer = self.pipeline.tokenizer
        length = text_limit(self.pipeline.model, tokenizer)
        # As in training: without a mask to hide it, padding must not depend on the other texts of a batch.
        padding = False if "attention_mask" in tokenizer.model_input_names else "max_length"
        return lambda value: preprocess(_as_text(value), truncation=True, max_length=length, padding=padding)


def _kind_of(config: Any) -> str:
    """The kind of problem, as transformers' pipelines take it from a model's configuration."""
    if config.problem_type is not None:
        return config.problem_type
    # A single output of a model that does not say what it is for is a probability to pipelines.
    return MULTI_LABEL if config.num_labels == 1 else SINGLE_LABEL


def _thresholds_of(config: Any, names: Sequence[str]) -> dict[str, float]:
    """The probability from which on an input has each label: what training has saved, or a half."""
    saved = getattr(config, "label_thresholds", None)
    if saved is None:
        return dict.fromkeys(names, 0.5)
    fits = isinstance(saved, list) and len(saved) == len(names) and all(isinstance(p, int | float) for p in saved)
    if not fits or not all(0 <= p <= 1 for p in saved):
        raise ValueError(
            f"label_thresholds must be {len(names)} numbers from 0 to 1, one for each label, got {saved!s:.80}; "
            "correct the model's config.json, or delete them there"
        )
    return dict(zip(names, saved, strict=True))


def _cast(inputs: BatchFeature, dtype: Any) -> BatchFeature:
    return inputs if dtype is None else inputs.to(dtype=dtype)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def probabilities_of(logits: np.ndarray, config: Any) -> np.ndarray:
    """What transformers' pipelines make of logits [N, C]: probabilities [N, C], or a regression's numbers as they are.

    Example:
        >>> from types import SimpleNamespace
        >>> config = SimpleNamespace(problem_type=None, num_labels=2)
        >>> probabilities_of(np.log([[1.0, 3.0]]), config).round(2).tolist()
        [[0.25, 0.75]]
    """
    if config.problem_type == REGRESSION:
        return logits
    if _kind_of(config) == MULTI_LABEL:
        return 1 / (1 + np.exp(-logits))
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def highest(scores: np.ndarray, count: int) -> np.ndarray:
    """Positions [K] of the `count` highest scores [C], the highest first; of equal ones the first. K = min(count, C).

    Example:
        >>> highest(np.array([0.1, 0.4, 0.1, 0.4]), 3).tolist()
        [1, 3, 0]
    """
    places = np.arange(len(scores))
    if count < len(scores):
        limit = np.partition(scores, -count)[-count]
        above = np.flatnonzero(scores > limit)
        places = np.sort(np.concatenate([above, np.flatnonzero(scores == limit)[: count - len(above)]]))
    return places[np.argsort(-scores[places], kind="stable")]


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


def _clips(feature_extractor: Any) -> Any:
    """Cuts and pads recordings as training did, if it has left its length in the feature extractor; else None."""
    # Not at the top: recordings need packages that images and texts must not ask for.
    from ..views.audio import AudioViews, saved_seconds

    return None if saved_seconds(feature_extractor) is None else AudioViews(feature_extractor)
