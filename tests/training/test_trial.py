"""What cannot be trained is refused when the trainer is made, in one line; what can is left as it was."""

import datasets
import numpy as np
import pytest
import torch
import transformers
from torch import nn
from transformers import GPT2Config, GPT2ForSequenceClassification, ResNetConfig, ResNetForImageClassification

from hf_ssl import SSLConfig, SSLTrainer
from hf_ssl.algorithms import FixMatch
from hf_ssl.batches.dataset import ViewDataset
from hf_ssl.errors import BrokenExampleError
from hf_ssl.training.trial import try_step

from tests.helpers.quiet import QUIET
from tests.helpers.sequence_models import GPT2, SMALL, decoder, fnet, make, xlnet
from tests.helpers.tiny_tasks import new_model, task, tokenizer

CONFIG = {
    "max_steps": 2,
    "per_device_train_batch_size": 2,
    "unlabeled_batch_ratio": 1,
    **QUIET,
}


def trainer(folder, model, modality="text", algorithm="fixmatch", given=None, **config):
    args = SSLConfig(str(folder), algorithm=algorithm, **{**CONFIG, **config})
    return SSLTrainer(model, args, **{**task(modality), **(given or {})})


def padding(side):
    made = tokenizer()
    made.padding_side = side
    return {"processing_class": made}


def gpt2(**changes):
    return make(GPT2ForSequenceClassification, GPT2Config, {**GPT2, **changes})


def reformer():
    sizes = {"axial_pos_embds_dim": (8, 8), "attention_head_size": 8, "feed_forward_size": 16}
    return make(
        transformers.ReformerForSequenceClassification,
        transformers.ReformerConfig,
        {**SMALL, **sizes, "attn_layers": ("local", "lsh"), "is_decoder": False},
    )


class Scaled(nn.Module):
    """Its logits are not what its head returns."""

    main_input_name = "pixel_values"

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3 * 12 * 12, 3)

    def forward(self, pixel_values):
        return {"logits": 2 * self.head(pixel_values.flatten(1))}


class Breaking(FixMatch):
    def forward(self, model, batch, progress):
        raise RuntimeError("this algorithm\nnever works.")


# Model, further arguments, and what the one line says.
REFUSED = {
    "decoder, left": (gpt2, padding("left"), r"answers change with padding on the left.*padding_side = 'right'"),
    "xlnet, right": (xlnet, padding("right"), r"answers change with padding on the right.*padding_side = 'left'"),
    "reformer": (
        reformer,
        {},
        r"ReformerForSequenceClassification cannot be trained: .*make sure that config.axial_pos_shape factors",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_models_that_cannot_be_trained_are_refused(name, tmp_path):
    model, given, message = REFUSED[name]
    with pytest.raises(ValueError, match=message) as caught:
        trainer(tmp_path, model(), given=given)
    assert "\n" not in str(caught.value) and ";" in str(caught.value)


def test_a_model_whose_head_does_not_make_its_logits_is_refused(tmp_path):
    with pytest.raises(ValueError, match="Scaled cannot be trained: its logits are not what its classification head"):
        trainer(tmp_path, Scaled(), "image")


def test_what_fails_in_an_algorithm_is_told_as_the_algorithms(tmp_path):
    with pytest.raises(
        ValueError,
        match=r"^BertForSequenceClassification cannot be trained with FixMatch: this algorithm never works; ",
    ):
        trainer(tmp_path, new_model("text"), given={"algorithm": Breaking})


@pytest.mark.parametrize("start", ["head", "features"])
def test_a_head_without_a_bias_cannot_be_fitted(start, tmp_path):
    with pytest.raises(ValueError, match=r"start='.*' fits a head with a bias.*set start='random'"):
        trainer(tmp_path, gpt2(), start=start)


@pytest.mark.parametrize(
    ("model", "side"), [(gpt2, "right"), (xlnet, "left"), (lambda: decoder("llama"), "left"), (fnet, "right")]
)
def test_three_steps_of_models_that_are_not_refused(model, side, tmp_path):
    made = trainer(tmp_path, model(), given=padding(side), max_steps=3)
    before = {name: tensor.clone() for name, tensor in made.model.named_parameters()}
    made.train()
    changed = [not torch.equal(before[name], tensor) for name, tensor in made.model.named_parameters()]
    assert sum(changed) > len(changed) / 2
    assert all(tensor.isfinite().all() for tensor in made.model.parameters())


# ---- The padding token ----


@pytest.mark.parametrize("before", [None, 7])
def test_a_decoder_takes_the_padding_token_of_its_tokenizer(before, tmp_path):
    """With another one it would pool at padding."""
    made = trainer(tmp_path, gpt2(pad_token_id=before))
    assert made.model.config.pad_token_id == tokenizer().pad_token_id == 0
    rows = made.data_collator([task("text")["eval_dataset"][i] for i in range(6)])
    rows.pop("labels")
    together = made.model.eval()(**rows).logits
    for row, length in enumerate(rows["attention_mask"].sum(dim=1).tolist()):
        alone = {name: values[row : row + 1, :length] for name, values in rows.items() if values.ndim == 2}
        torch.testing.assert_close(made.model(**alone).logits[0], together[row], rtol=1e-4, atol=1e-5)


def test_a_decoder_without_any_padding_token_is_refused(tmp_path):
    ids = [[5, 6, 7, 8]] * 6
    given = task("text")["train_dataset"].remove_columns("text").add_column("input_ids", ids)
    given = {"train_dataset": given, "unlabeled_dataset": given, "eval_dataset": None, "processing_class": None}
    with pytest.raises(ValueError, match=r"no padding token is defined; set model.config.pad_token_id"):
        trainer(tmp_path, gpt2(pad_token_id=None), algorithm="pseudo_label", given=given)


# ---- Nothing is left of the trial ----


def resnet():
    config = ResNetConfig(embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], layer_type="basic", num_labels=3)
    return ResNetForImageClassification(config)


@pytest.mark.parametrize("algorithm", ["fixmatch", "simmatch", "vat", "mean_teacher", "remixmatch"])
def test_weights_buffers_modes_and_random_numbers_stay(algorithm, tmp_path):
    torch.manual_seed(0)
    model = resnet().train()
    model.resnet.embedder.eval()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    settings = {"ema_decay": 0.5}
    made = []
    for _ in range(2):
        made.append(trainer(tmp_path, model, "image", algorithm, seed=3, **settings))
        drawn = torch.rand(3), np.random.rand(3)
        made.append(drawn)
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes
    assert all(parameter.grad is None for parameter in model.parameters())
    first, second = made[0].algorithm.state_dict(), made[2].algorithm.state_dict()
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    # Trainer seeds the generators when it is made.
    assert torch.equal(made[1][0], made[3][0]) and np.array_equal(made[1][1], made[3][1])


def test_rows_that_cannot_be_read_are_told_when_they_are_read(tmp_path):
    broken = datasets.Dataset.from_dict({"image": [{"bytes": b"nothing", "path": None}] * 4})
    broken = broken.cast_column("image", datasets.Image())
    made = trainer(tmp_path, new_model("image"), "image", given={"unlabeled_dataset": broken})
    with pytest.raises(BrokenExampleError, match="examples of the unlabeled dataset in a row cannot be read"):
        made.train()


def test_the_pool_of_the_baseline_is_not_read(tmp_path):
    made = trainer(tmp_path, new_model("text"), algorithm="supervised")
    rows = ViewDataset(made.train_dataset, [None] * 3, made.views, made.algorithm.views, "label")
    try_step(made.model, made.algorithm, rows, made.args)


@pytest.mark.parametrize(("steps", "seconds"), [(10, 8.0), (100_000, 1.0)], ids=["a short training", "a long one"])
def test_a_step_is_timed_again_if_the_training_would_be_long(monkeypatch, tmp_path, steps, seconds):
    made = trainer(tmp_path, new_model("text"), max_steps=steps)
    times = iter([8.0, 1.0])
    monkeypatch.setattr("hf_ssl.training.trial._train", lambda *_: next(times))
    rows = ViewDataset(made.train_dataset, made.unlabeled_dataset, made.views, made.algorithm.views, "label")
    assert try_step(made.model, made.algorithm, rows, made.args) == seconds / 4
