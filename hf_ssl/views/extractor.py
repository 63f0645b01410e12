"""A feature extractor called on one recording at a time, as `transformers.pipeline` calls it, and stacked answers.

    wave [n] --extractor's own call--> {"input_values": [1, n], ...} --pad to a full clip's shape, stack--> [N, ...]

Called on a batch, extractors do other things than on one recording: without a mask wav2vec 2.0's normalizes over the
padding as well, Whisper's and Parakeet's pad the waves before the spectra. An example would then depend on its
neighbors, and a model in use, which gets one recording, would see other numbers than it was trained on. (One call per
recording is also faster: 64 clips of a second in half the time for wav2vec 2.0, a third for Whisper.)

What is shorter than a full clip is padded to its shape, always, so that no answer depends on the batch. Padding must
be harmless: hidden by a mask that the extractor gives, or zeros behind a waveform, as models such as wav2vec2-base ask
for that take no mask. An extractor that cannot be followed so is refused, with the reason.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from ..errors import BrokenExampleError
from .base import ModelKeywords

# One recording's answer: name -> tensor [1, ...].
_Answer = dict[str, torch.Tensor]


class OwnCalls:
    """Calls a feature extractor on single recordings and stacks what it returns.

    Args:
        feature_extractor: called with a wave, `sampling_rate` and `return_tensors="pt"`, and nothing else.
        sampling_rate: Hz.
        length: samples of a full clip, at least 1.

    Example:
        >>> from transformers import Wav2Vec2FeatureExtractor
        >>> calls = OwnCalls(Wav2Vec2FeatureExtractor(return_attention_mask=True), 16_000, length=5)
        >>> batch = calls([np.float32([1, -1, 1, -1]), np.float32([1, -1])])
        >>> batch["input_values"].round(decimals=3)
        tensor([[ 1., -1.,  1., -1.,  0.],
                [ 1., -1.,  0.,  0.,  0.]])
        >>> batch["attention_mask"].tolist()
        [[1, 1, 1, 1, 0], [1, 1, 0, 0, 0]]
    """

    def __init__(self, feature_extractor: Callable[..., Any], sampling_rate: int, length: int):
        self.feature_extractor, self.sampling_rate, self.length = feature_extractor, sampling_rate, length
        # Shape of a full clip's answer, per name; found when it is first needed.
        self._full: dict[str, tuple[int, ...]] | None = None
        self._varying: set[str] = set()

    def __call__(self, waves: Sequence[np.ndarray]) -> ModelKeywords:
        """Waves of at most `length` samples each -> model keywords, tensors [N, ...] of shapes that never change.

        Raises:
            ValueError: if the extractor cannot be followed; see `problem`.
            BrokenExampleError: if one of the waves cannot be read, most likely because it is too short.
        """
        if problem := self.problem():
            raise ValueError(problem)
        assert self._full is not None, "`problem` has measured"
        answers = [self._alone(wave) for wave in waves]
        return {name: self._stacked(name, [answer[name] for answer in answers]) for name in self._full}

    def alone(self, wave: np.ndarray) -> _Answer:
        """What the extractor returns for one recording: the pipeline's own tensors."""
        return dict(self.feature_extractor(wave, sampling_rate=self.sampling_rate, return_tensors="pt"))

    def _alone(self, wave: np.ndarray) -> _Answer:
        try:
            return self.alone(wave)
        except Exception as error:  # As above; a full clip can be read, so it is this recording.
            reason = " ".join(str(error).split())
            raise BrokenExampleError(
                f"the feature extractor cannot read a recording of {len(wave):,} samples: {reason}"
            ) from error

    @property
    def pads_left(self) -> bool:
        """Whether padding comes before the recording."""
        return getattr(self.feature_extractor, "padding_side", "right") == "left"

    def problem(self) -> str | None:
        """Why the extractor cannot be followed, in one line with the way out; None if it can."""
        if self._full is not None:
            return None
        try:
            reason = self._measure()
        except Exception as error:  # An extractor may fail with anything; that it fails is the answer.
            reason = f"it fails on a recording of {self.length:,} samples: {' '.join(str(error).split())}"
        if reason is None:
            return None
        name = type(self.feature_extractor).__name__
        return (
            f"the feature extractor must give the same tensors in training and in use, and {name} does not: {reason}; "
            "use another model, or give rows that hold its tensors already"
        )

    def _measure(self) -> str | None:
        """Call the extractor on noise of full and of half length; sets `_full` unless there is a reason against it."""
        noise = np.random.default_rng(0).uniform(-0.5, 0.5, self.length).astype(np.float32)
        half = noise[: (self.length + 1) // 2]
        full, again, short = self.alone(noise), self.alone(noise), self.alone(half)
        for name, value in full.items():
            if not isinstance(value, torch.Tensor) or value.ndim == 0 or value.shape[0] != 1:
                return f"{name} is not a tensor of one example"
            if not torch.equal(value, again[name]):
                return f"{name} is random"
        varying = [name for name in full if name not in short or short[name].shape != full[name].shape]
        for name in varying:
            if name not in short or short[name].ndim != full[name].ndim or _exceeds(short[name], full[name]):
                return f"the shape of {name} does not grow with the recording"
        masks = [name for name in varying if "mask" in name]
        if any(full[name].sum() <= short[name].sum() for name in masks):
            return f"{masks[0]} does not mark the recording with 1 and the padding with 0"
        waves = [name for name in varying if short[name].numel() == len(half) and full[name].numel() == len(noise)]
        unmasked = [name for name in varying if name not in masks and name not in waves]
        if unmasked and not masks:
            return f"{unmasked[0]} is of different lengths, and no mask tells the model where a recording ends"
        self._varying = set(varying)
        self._full = {name: tuple(value.shape[1:]) for name, value in full.items()}
        return None

    def _stacked(self, name: str, values: Sequence[torch.Tensor]) -> torch.Tensor:
        assert self._full is not None
        shape = self._full[name]
        if all(tuple(value.shape[1:]) == shape for value in values):
            return torch.cat(list(values))
        if name not in self._varying:
            # Half a clip has the shape of a whole one, and this recording, which is shorter still, has not.
            raise BrokenExampleError(f"a recording is too short for the feature extractor: {name} has another shape")
        padding = 0 if "mask" in name else getattr(self.feature_extractor, "padding_value", 0)
        left = self.pads_left
        stacked = torch.full((len(values), *shape), padding, dtype=values[0].dtype)
        for place, value in enumerate(values):
            part = tuple(slice(-size, None) if left else slice(size) for size in value.shape[1:])
            stacked[place][part] = value[0]
        return stacked


def _exceeds(value: torch.Tensor, full: torch.Tensor) -> bool:
    return any(size > whole for size, whole in zip(value.shape, full.shape, strict=True))
