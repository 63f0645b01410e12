"""Reproducible random numbers for code that draws them from the global generators."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def global_seeds(rng: np.random.Generator) -> Iterator[None]:
    """Seed the global generators of `random`, NumPy and torch (CPU) from `rng`, and put their states back afterwards.

    Transforms and custom callables usually draw from those. Their numbers then follow from the example and the draw,
    as those of all views do, regardless of what workers, prefetching and resuming have done to the global state.

    Example:
        >>> with global_seeds(np.random.default_rng(0)):
        ...     first = random.random(), torch.rand(1).item()
        >>> with global_seeds(np.random.default_rng(0)):
        ...     first == (random.random(), torch.rand(1).item())
        True
    """
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    seed = int(rng.integers(2**32))
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
