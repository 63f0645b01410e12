"""What a run that was interrupted must share with one that was not."""

import torch

SAME = (
    "loss",
    "supervised",
    "unsupervised",
    "mask_ratio",
    "pseudo_label_accuracy",
    "broken_files",
    "grad_norm",
    "learning_rate",
    "step",
)


def everything(trainer):
    """All tensors that a continued run must share with an uninterrupted one, by name."""
    found = {f"student/{k}": v for k, v in trainer.accelerator.unwrap_model(trainer.model).state_dict().items()}
    found |= {f"ema/{k}": v for k, v in trainer.ema.state_dict().items()}
    found |= {f"algorithm/{k}": v for k, v in trainer.algorithm.state_dict().items()}
    for number, values in trainer.optimizer.state_dict()["state"].items():
        found |= {f"optimizer/{number}/{k}": torch.as_tensor(v) for k, v in values.items()}
    return {name: tensor.detach().clone() for name, tensor in found.items()}


def log_lines(trainer):
    return [{key: row[key] for key in SAME if key in row} for row in trainer.state.log_history if "loss" in row]
