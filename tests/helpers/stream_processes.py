"""What two processes do with a pool that is a stream: `accelerate launch ... stream_processes.py DIR`.

Each process writes rank<N>.json into DIR: what it saw, and what differs after resuming and between the processes.
"""

import gc
import json
import sys
from pathlib import Path

import datasets
import torch

from hf_ssl import SSLConfig, SSLTrainer
from hf_ssl.algorithms.fixmatch import FixMatch
from hf_ssl.distributed import gather

from tests.helpers.resuming import everything, log_lines
from tests.helpers.tiny_tasks import make_texts, new_model, task

ROWS = make_texts(24, 1)
# Two shards of 20 and 4 rows.
UNEVEN = (range(20), range(20, 24))


def rows_of(shards):
    for shard in shards:
        for place in shard:
            yield ROWS[place]


class TorchRows(torch.utils.data.IterableDataset):
    def __iter__(self):
        yield from ROWS


POOLS = {
    "two even shards": lambda: ROWS.to_iterable_dataset(num_shards=2),
    "three shards": lambda: ROWS.to_iterable_dataset(num_shards=3),
    "two uneven shards": lambda: datasets.IterableDataset.from_generator(
        rows_of, features=ROWS.features, gen_kwargs={"shards": list(UNEVEN)}
    ),
    "torch": TorchRows,
}
WORKERS = {"three shards": 1}


class Recorded(FixMatch):
    """FixMatch that keeps the positions of the examples that it saw."""

    def forward(self, model, batch, progress):
        self.seen = [*getattr(self, "seen", []), batch.unlabeled_index.tolist()]
        return super().forward(model, batch, progress)


def make_trainer(folder, pool, seed=0, workers=0):
    args = SSLConfig(
        str(folder),
        algorithm_kwargs={"threshold": 0.35},
        max_steps=6,
        per_device_train_batch_size=2,
        unlabeled_batch_ratio=2,
        stream_buffer_size=5,
        learning_rate=1e-2,
        save_strategy="steps",
        save_steps=3,
        ema_role="evaluation",
        report_to="none",
        use_cpu=True,
        ddp_backend="gloo",
        disable_tqdm=True,
        logging_steps=2,
        dataloader_pin_memory=False,
        dataloader_num_workers=workers,
    )
    given = {**task("text"), "unlabeled_dataset": pool}
    return SSLTrainer(new_model("text", seed), args, algorithm=Recorded, **given)


def train_twice(folder, name):
    """Positions seen, and names of what differs between the processes, and from a run that was resumed."""
    workers = WORKERS.get(name, 0)
    whole = make_trainer(folder, POOLS[name](), workers=workers)
    whole.train()
    whole.accelerator.wait_for_everyone()
    resumed = make_trainer(folder, POOLS[name](), seed=5, workers=workers)
    resumed.train(resume_from_checkpoint=str(folder / "checkpoint-3"))
    expected, found = everything(whole), everything(resumed)
    differing = [key for key in expected if not torch.equal(expected[key], found[key])]
    gathered = {key: gather(tensor[None]) for key, tensor in expected.items()}
    return {
        "seen": whole.algorithm.seen,
        "seen again": resumed.algorithm.seen,
        "between": [key for key, (first, second) in gathered.items() if not torch.equal(first, second)],
        "resumed": differing + ([] if log_lines(whole) == log_lines(resumed) else ["log lines"]),
    }


def main(folder: Path) -> None:
    # As in conftest.py: each training ends with a collection.
    gc.freeze()
    report = {name: train_twice(folder / name.replace(" ", "-"), name) for name in POOLS}
    rank = torch.distributed.get_rank()
    (folder / f"rank{rank}.json").write_text(json.dumps(report))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
