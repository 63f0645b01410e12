"""VAT's search direction: exactly the product of the Fisher information with the noise, through any model."""

import json
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, safe_open
from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    ResNetConfig,
    ResNetForImageClassification,
    ViTConfig,
    ViTForImageClassification,
    Wav2Vec2Config,
    Wav2Vec2ForSequenceClassification,
)

from hf_ssl import ModelForward, Progress, SSLBatch, get_algorithm
from hf_ssl.algorithms.parts.fisher import fisher_product
from hf_ssl.algorithms.vat import unit

EXACT = Path(__file__).resolve().parents[1] / "known_answers" / "vat-exact.safetensors"
SMALL = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16, "num_labels": 3}
SILENT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def cosines(first, second):
    return nn.functional.cosine_similarity(first.double().flatten(1), second.double().flatten(1))


def by_matrices(classify, inputs, vector):
    """J^T (diag p - p p^T) J v over the whole batch, with J written out, in the precision of the inputs."""
    logits = classify(inputs)
    jacobian = torch.autograd.functional.jacobian(classify, inputs).reshape(*logits.shape, -1)
    change = torch.einsum("ncd,d->nc", jacobian, vector.flatten())
    probs = logits.softmax(dim=-1)
    fisher_matrix = torch.diag_embed(probs) - probs.unsqueeze(-1) * probs.unsqueeze(-2)
    pulled = torch.einsum("nck,nk->nc", fisher_matrix, change)
    return torch.einsum("nc,ncd->d", pulled, jacobian).reshape(inputs.shape)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.classifier = nn.LSTM(4, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, input_values):
        return self.classifier(self.body(input_values)[0][:, -1])


class Flat(nn.Module):
    """Features are the inputs."""

    def __init__(self, dim, num_classes):
        super().__init__()
        self.classifier = nn.Linear(dim, num_classes)

    def forward(self, x):
        return self.classifier(x)


def speech():
    settings = {"conv_dim": (6, 6), "conv_stride": (5, 4), "conv_kernel": (10, 8), "num_feat_extract_layers": 2}
    silent = dict.fromkeys(("hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout"), 0.0)
    silent |= {"layerdrop": 0.0, "mask_time_prob": 0.0, "final_dropout": 0.0}
    config = Wav2Vec2Config(num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2, **SMALL, **settings, **silent)
    return Wav2Vec2ForSequenceClassification(config)


def convolutional():
    shape = {"embedding_size": 4, "hidden_sizes": [4, 8], "depths": [1, 1], "layer_type": "basic", "num_labels": 3}
    return ResNetForImageClassification(ResNetConfig(**shape))


# Model, the keyword that is perturbed, the shape of its values, and other keywords. The attention is SDPA.
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 1, 1, 0]])
MODELS = {
    "bert": (
        lambda: BertForSequenceClassification(BertConfig(vocab_size=11, **SMALL, **SILENT)),
        "inputs_embeds",
        (3, 5, 8),
        {"attention_mask": MASK},
    ),
    "vit": (
        lambda: ViTForImageClassification(ViTConfig(image_size=8, patch_size=4, **SMALL, **SILENT)),
        "pixel_values",
        (3, 3, 8, 8),
        {},
    ),
    "wav2vec2": (speech, "input_values", (2, 200), {}),
    "resnet": (convolutional, "pixel_values", (4, 3, 8, 8), {}),
    "lstm": (Recurrent, "input_values", (3, 4, 4), {}),
}


def prepare(name, dtype=torch.float64):
    torch.manual_seed(0)
    make, key, shape, others = MODELS[name]
    model = make().train()
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.4)
    model.to(dtype)
    return model, key, torch.randn(shape, dtype=torch.float64), torch.randn(shape, dtype=torch.float64), others


def searcher():
    sizes = {"num_labeled": 6, "num_unlabeled": 24, "labeled_batch_size": 3, "unlabeled_batch_size": 3}
    return get_algorithm("vat", num_classes=3, feature_size=8, modality="text", **sizes)


def viewer(key, others):
    return lambda values: {**others, key: values}


@pytest.mark.parametrize("name", MODELS)
def test_the_search_is_the_fisher_matrix_times_the_noise(name):
    model, key, inputs, noise, others = prepare(name)
    forward = ModelForward(model)

    def classify(values):
        return forward(frozen={"view": {**others, key: values}})["view"].logits

    found = searcher().search(forward, inputs, unit(noise), viewer(key, others))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "_requires_grad", False, raising=False)
        for module in model.modules():
            if hasattr(module, "_requires_grad"):
                patch.setattr(module, "_requires_grad", False)
        expected = by_matrices(classify, inputs, unit(noise))
    torch.testing.assert_close(found, unit(expected), rtol=1e-7, atol=1e-9)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("dtype", "least"), [(torch.float32, 1 - 1e-9), (torch.bfloat16, 0.98), (torch.float16, 0.999)]
)
@pytest.mark.parametrize("name", ["bert", "vit", "resnet"])
def test_the_direction_holds_in_every_precision(name, dtype, least):
    found = {}
    for kind in (torch.float64, dtype):
        model, key, inputs, noise, others = prepare(name, kind)
        inputs, noise = inputs.to(kind), unit(noise).to(kind)
        found[kind] = searcher().search(ModelForward(model), inputs, noise, viewer(key, others))
    assert cosines(found[torch.float64], found[dtype]).min() > least


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_direction_holds_under_autocast(dtype):
    model, key, inputs, noise, others = prepare("bert", torch.float32)
    found = []
    for enabled in (False, True):
        with torch.autocast("cpu", dtype, enabled=enabled):
            found.append(
                searcher().search(ModelForward(model), inputs.float(), unit(noise).float(), viewer(key, others))
            )
    assert cosines(*found).min() > 0.98


@pytest.mark.parametrize("margin", [0.0, 10.0, 40.0, 80.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_certain_prediction_has_its_direction_too(margin, dtype):
    # f(x) = (margin, 0, 0) + W x at x = 0: p is (1, e^-margin, e^-margin) but for its scale, so that
    # F W d is near e^-margin * (-(a + b), a, b) with a, b the changes of the other logits relative to the first.
    weight = torch.tensor([[1.0, 2.0, 0.5], [0.0, 1.0, -1.0], [2.0, 0.0, 1.0]], dtype=torch.float64)
    bias, noise = torch.tensor([margin, 0.0, 0.0], dtype=torch.float64), torch.tensor([[0.6, -0.8, 0.0]]).double()
    p = bias.softmax(dim=0)
    change = noise[0] @ weight.T
    # (F J d)_k = sum_j p_k p_j (J d_k - J d_j)
    pulled = torch.stack([sum(p[k] * p[j] * (change[k] - change[j]) for j in range(3)) for k in range(3)])
    expected = unit((pulled @ weight)[None])
    found = fisher_product(
        lambda inputs: inputs @ weight.T.to(dtype) + bias.to(dtype), torch.zeros(1, 3, dtype=dtype), noise.to(dtype)
    )
    torch.testing.assert_close(unit(found).double(), expected, rtol=0, atol=1e-6 if dtype == torch.float32 else 1e-2)


def test_logits_that_do_not_depend_on_the_input_have_no_direction():
    constant = nn.Parameter(torch.randn(2, 3))
    product = fisher_product(lambda inputs: constant + 0 * inputs.sum(), torch.randn(2, 4), torch.randn(2, 4))
    assert torch.equal(unit(product), torch.zeros(2, 4))


def test_the_known_answer_in_float64():
    golden = load_file(EXACT)
    with safe_open(EXACT, "pt") as file:
        meta = json.loads(file.metadata()["meta"])
    sizes = {"num_classes": meta["num_classes"], "feature_size": meta["dim"], "labeled_batch_size": meta["batch_size"]}
    sizes |= {"num_labeled": meta["num_labeled"], "num_unlabeled": meta["num_unlabeled"]}
    sizes["unlabeled_batch_size"] = meta["batch_size"] * meta["uratio"]
    algorithm = get_algorithm("vat", unsupervised_weight=meta["lambda_u"], **meta["hyperparameters"], **sizes)
    model = Flat(meta["dim"], meta["num_classes"]).double()
    for name, parameter in model.classifier.named_parameters():
        parameter.data.copy_(golden[f"init/classifier.{name}"])
    for step in range(meta["steps"]):
        given = {key.split("/")[-1]: value for key, value in golden.items() if key.startswith(f"step{step}/input/")}
        batch = SSLBatch(
            {"x": given["labeled"].double()},
            given["labels"],
            {"weak": {"x": given["weak"].double()}},
            perturbation=given["vat_direction"].double(),
        )
        output = algorithm(ModelForward(model), batch, Progress(step, meta["max_steps"], meta["steps_per_epoch"]))
        torch.testing.assert_close(output.loss, golden[f"step{step}/loss"], rtol=1e-10, atol=0)
        model.zero_grad()
        output.loss.backward()
        for name, parameter in model.classifier.named_parameters():
            torch.testing.assert_close(
                parameter.grad, golden[f"step{step}/grad/classifier.{name}"], rtol=1e-9, atol=1e-12
            )
            parameter.data.sub_(meta["lr"] * parameter.grad)


def step_of(model, view):
    batch = SSLBatch(dict(view), torch.tensor([0, 1, 2]), {"weak": dict(view)})
    return searcher()(ModelForward(model), batch, Progress(5, 10, 2))


def test_gradient_checkpointing_changes_nothing():
    model, *_ = prepare("bert")
    view = {
        "input_ids": torch.randint(1, 11, (3, 5), generator=torch.Generator().manual_seed(1)),
        "attention_mask": MASK,
    }
    found = []
    for checkpointed in (False, True):
        each = deepcopy(model)
        if checkpointed:
            each.gradient_checkpointing_enable({"use_reentrant": False})
        torch.manual_seed(3)
        output = step_of(each, view)
        output.loss.backward()
        found.append((output.loss, each.classifier.weight.grad, each.get_input_embeddings().weight.grad))
    for plain, checkpointed in zip(*found, strict=True):
        torch.testing.assert_close(checkpointed, plain, rtol=1e-9, atol=1e-12)


def test_texts_of_a_model_with_frozen_embeddings_are_searched_too():
    model, *_ = prepare("bert")
    model.get_input_embeddings().requires_grad_(False)
    view = {"input_ids": torch.randint(1, 11, (3, 5)), "attention_mask": MASK}
    assert step_of(model, view).terms["unsupervised"] > 1e-4


class Cubed(torch.autograd.Function):
    """x^3, with a backward pass that autograd can differentiate."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, gradient):
        return 3 * gradient * ctx.saved_tensors[0] ** 2


class Opaque(Cubed):
    """With one that it cannot, as in a kernel of its own."""

    @staticmethod
    def backward(ctx, gradient):
        return (3 * gradient * ctx.saved_tensors[0] ** 2).detach()


class Once(Cubed):
    """With one that says so."""

    backward = staticmethod(torch.autograd.function.once_differentiable(Cubed.backward))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_custom_operations_are_taken_if_their_derivatives_are_complete(dtype):
    torch.manual_seed(0)
    head, inputs, noise = nn.Linear(4, 3).to(dtype), torch.randn(2, 4).to(dtype), torch.randn(2, 4).to(dtype)
    found = fisher_product(lambda x: head(x + Cubed.apply(x)), inputs, noise)
    expected = by_matrices(lambda x: head(x + x**3), inputs, noise)
    assert cosines(found, expected).min() > (1 - 1e-12 if dtype == torch.float64 else 0.99)


@pytest.mark.parametrize("operation", [Opaque, Once])
@pytest.mark.parametrize("residual", [0.0, 1.0])
def test_custom_operations_without_second_derivatives_are_refused(operation, residual):
    torch.manual_seed(0)
    head = nn.Linear(4, 3)
    with pytest.raises(NotImplementedError, match=r"second derivatives for VAT, got: .*another algorithm"):
        fisher_product(
            lambda x: head(operation.apply(x) + (residual * x if residual else 0)),
            torch.randn(2, 4),
            torch.randn(2, 4),
        )


@pytest.mark.parametrize("compile", [torch.compile, lambda model, **how: model.compile(**how) or model])
def test_the_search_bypasses_compilation(compile):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    compiled, inputs, noise = compile(deepcopy(model), backend="aot_eager"), torch.randn(3, 4), torch.randn(3, 4)
    found = searcher().search(ModelForward(compiled), inputs, noise, lambda values: {"input": values})
    torch.testing.assert_close(found, unit(by_matrices(model, inputs, noise)))
    assert (compiled._compiled_call_impl is None) == hasattr(compiled, "_orig_mod")
