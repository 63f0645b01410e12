"""Encoders that count their calls, and what other processes do with feature banks.

python tests/helpers/feature_banks.py DIR SECONDS     encode a pool of texts into DIR, SECONDS per batch
accelerate launch ... feature_banks.py DIR 0          the same in several processes; rank<N>.json says what each has
"""

import json
import sys
import time
from pathlib import Path

import datasets
import numpy as np
import torch
from accelerate import PartialState

from hf_ssl import SSLConfig
from hf_ssl.features import FeatureBank

from tests.helpers.tiny_tasks import make_texts, new_model, tokenizer

BATCH, POOL = 2, 150


class CountingCalls:
    """Counts the forward calls of a model, and makes them slow."""

    def __init__(self, model: torch.nn.Module, seconds: float = 0.0, fails_at: int | None = None):
        self.calls, self.examples = 0, 0
        self.seconds, self.fails_at = seconds, fails_at
        model.get_input_embeddings().register_forward_hook(self._count)

    def _count(self, module, arguments, output):
        self.calls += 1
        self.examples += len(output)
        time.sleep(self.seconds)
        if self.calls == self.fails_at:
            raise KeyboardInterrupt


def config(**changes) -> SSLConfig:
    defaults = {"output_dir": "unused", "report_to": "none", "use_cpu": True, "dataloader_num_workers": 0, "seed": 3}
    if torch.distributed.is_torchelastic_launched():
        defaults["ddp_backend"] = "gloo"
    return SSLConfig(**{**defaults, "disable_tqdm": True, **changes})


def pool(count: int = POOL) -> datasets.Dataset:
    return make_texts(count, 5)


def encode(folder, model=None, dataset=None, **settings) -> FeatureBank:
    model = new_model("text", 1) if model is None else model
    dataset = pool() if dataset is None else dataset
    settings = {"args": config(), "batch_size": BATCH, "cache_dir": folder, **settings}
    return FeatureBank.encode(model, dataset, tokenizer(), **settings)


def main(folder: Path, seconds: float) -> None:
    model = new_model("text", 1)
    counting = CountingCalls(model, seconds)
    bank = encode(folder / "cache", model)
    stream = encode(folder / "streamed", model, pool().to_iterable_dataset())
    rank = PartialState().process_index
    found = {
        "examples": counting.examples,
        "key": bank.key,
        "sum": float(np.asarray(bank.features, dtype=np.float64).sum()),
        "same as streamed": bool(np.array_equal(bank.features, stream.features)),
        "labels": bank.labels.tolist(),
        "streamed labels": stream.labels.tolist(),
    }
    np.save(folder / f"rank{rank}.npy", bank.features)
    (folder / f"rank{rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))
