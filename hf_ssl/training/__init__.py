"""The trainer's parts: checkpoints, optimization, checks during training."""
