"""Two processes that leave foreign examples out: `accelerate launch --num_processes 2 open_set_processes.py DIR`."""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from hf_ssl import SSLTrainer
from hf_ssl.features import bank

from tests.helpers.foreign_pool import make_trainer


def make(folder: Path, processes: int) -> SSLTrainer:
    """A training whose step has four labeled examples over all processes."""
    bank.default_cache = lambda: folder / "features"
    return make_trainer(folder, per_device_train_batch_size=4 // processes)


def state(trainer: SSLTrainer) -> dict[str, torch.Tensor]:
    """What must be alike: weights, what is left out, and by what foreign examples are told in the end."""
    assert trainer.foreignness is not None
    found = {name: value.detach().clone() for name, value in trainer.model.state_dict().items()}
    limit = torch.tensor(trainer.foreignness.limit)
    return found | {"foreign_rows": torch.from_numpy(trainer.foreign_rows), "limit": limit}


if __name__ == "__main__":
    place = Path(sys.argv[1])
    training = make(place, processes=2)
    training.train()
    save_file(state(training), place / f"rank{training.args.process_index}.safetensors")
