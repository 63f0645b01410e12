"""What the model says of each example of the pool: its class and how sure it is. Labels of the pool are never read."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from ..algorithms.rounds import confident_classes
from ..batches.sampler import ExampleKey
from ..config import SSLConfig
from ..data.rows import may_be_random
from ..distributed import gather
from ..errors import BrokenExampleError
from ..views import Views
from ..views.seeds import global_seeds

# Class of an example that cannot be read.
UNREADABLE = -1


class PoolInputs(Dataset):
    """The pool's examples as inputs for predictions: place -> the item, or None if the example cannot be read.

    Args:
        pool: prepared.
        positions: those [P] that are wanted.
        views: the view maker.
        seed: of transforms that draw random numbers.
        skip_broken: whether examples that cannot be read are left out; else they are an error.
    """

    def __init__(self, pool: Any, positions: np.ndarray, views: Views, seed: int, skip_broken: bool):
        self.pool, self.positions, self.views = pool, positions, views
        self.seed, self.skip_broken = seed, skip_broken

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, place: int) -> Any:
        index = int(self.positions[place])
        try:
            if not may_be_random(self.pool):
                return self.views.evaluation(self.pool[index])
            with global_seeds(ExampleKey(False, index, 0, 0).generator(self.seed, 0)):
                return self.views.evaluation(self.pool[index])
        except BrokenExampleError as error:
            if self.skip_broken:
                return None
            raise BrokenExampleError(f"row {index} of the unlabeled dataset: {error}") from error

    def collate(self, items: Sequence[Any]) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        """Which of N items can be read, bool [N], and the model keywords of these."""
        readable = [item for item in items if item is not None]
        return torch.tensor([item is not None for item in items]), self.views.collate(readable) if readable else {}


def predict_pool(
    scores: Callable[[dict[str, Any]], torch.Tensor], pool: Any, views: Views, args: SSLConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Predict every example once; each process takes its part, and all get the same answer.

    Args:
        scores: model keywords -> logits [N, C].
        pool: prepared.
        views: the view maker.
        args: how many examples go through the model at a time, how many workers, what happens to broken files.

    Returns:
        The classes [M], `UNREADABLE` for examples that cannot be read, and the probabilities [M] of these classes.
    """
    part = math.ceil(len(pool) / args.world_size)
    # The last processes begin again from the front, so that all have equally many.
    positions = (args.process_index * part + np.arange(part)) % len(pool)
    inputs = PoolInputs(pool, positions, views, args.seed, args.on_broken_file == "skip")
    loader = DataLoader(
        inputs,
        batch_size=args.eval_batch_size,
        collate_fn=inputs.collate,
        num_workers=args.dataloader_num_workers,
        multiprocessing_context=args.dataloader_multiprocessing_context if args.dataloader_num_workers else None,
    )
    classes, confidence = np.full(part, UNREADABLE), np.zeros(part)
    begin = 0
    for readable, keywords in loader:
        places = begin + np.flatnonzero(readable.numpy())
        if len(places):
            classes[places], confidence[places] = confident_classes(scores(dict(keywords)))
        begin += len(readable)
    found, sure = gather(*(torch.from_numpy(each).to(args.device) for each in (classes, confidence)))
    return found.cpu().numpy()[: len(pool)], sure.cpu().numpy()[: len(pool)]
