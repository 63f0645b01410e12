"""What a model is called with, example by example, and a short training that leads to it."""

import torch

from hf_ssl import SSLConfig

from tests.helpers.quiet import QUIET


def short_settings(folder, **more):
    """One step on the CPU, three labeled examples and three of the pool."""
    usual = {
        "output_dir": str(folder),
        "max_steps": 1,
        "per_device_train_batch_size": 3,
        "unlabeled_batch_ratio": 1,
        **QUIET,
    }
    return SSLConfig(**usual | more)


def inputs_of(model, call):
    """What the model is called with, one dict per example, while `call` runs."""
    seen = []

    def remember(module, args, keywords):
        tensors = {name: value for name, value in keywords.items() if isinstance(value, torch.Tensor)}
        tensors.pop("labels", None)
        for place in range(len(next(iter(tensors.values())))):
            seen.append({name: value[place] for name, value in tensors.items()})

    handle = model.register_forward_pre_hook(remember, with_kwargs=True)
    try:
        call()
    finally:
        handle.remove()
    return seen


def without_padding(example):
    """The part of an example that its mask does not hide."""
    keep = example["attention_mask"].bool()
    return {name: value[keep] for name, value in example.items()}


def assert_same(found, expected):
    """The same examples, bit for bit."""
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            assert torch.equal(one[name], other[name]), name


def training_inputs(trainer, rows):
    """Labeled examples as a step gets them, in the order of the dataset."""
    found = {}
    for inputs in trainer.get_train_dataloader():
        batch = trainer._collator.to_batch(inputs)
        for place, index in enumerate(batch.labeled_index.tolist()):
            found[index] = {name: value[place] for name, value in batch.labeled.items()}
        if len(found) == rows:
            break
    return [found[index] for index in range(rows)]
