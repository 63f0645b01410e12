"""SSLTrainer with what Trainer offers: accumulation, precision, checkpointing, compilation, PEFT, logging, ..."""

import pytest
import torch
from transformers import AutoModelForImageClassification, ResNetConfig, ResNetForImageClassification, TrainerCallback

from hf_ssl import ModelForward, SSLConfig, SSLTrainer

from tests.helpers.tiny_images import make_vit
from tests.helpers.tiny_tasks import new_model, task


def make(folder, modality="image", model=None, algorithm="fixmatch", **config):
    defaults = {
        "max_steps": 4,
        "per_device_train_batch_size": 2,
        "unlabeled_batch_ratio": 2,
        "learning_rate": 1e-2,
        "algorithm_kwargs": {"threshold": 0.35} if algorithm in ("fixmatch", "flexmatch") else None,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "disable_tqdm": True,
        "logging_steps": 1,
        "dataloader_pin_memory": False,
        "dataloader_num_workers": 0,
    }
    args = SSLConfig(output_dir=str(folder), algorithm=algorithm, **{**defaults, **config})
    return SSLTrainer(model or new_model(modality), args, **task(modality))


def losses_of(trainer):
    trainer.train()
    return [row["loss"] for row in trainer.state.log_history if "loss" in row]


# ---- The same step, cut differently ----


@pytest.mark.parametrize("algorithm", ["supervised", "fixmatch", "pseudo_label", "mean_teacher", "uda"])
def test_batch_8_x_1_is_4_x_2_is_2_x_4(algorithm, tmp_path):
    """Three steps in float64, 24 labeled views and as many unlabeled ones, cut into passes of three sizes."""
    found = []
    for batch, accumulated in ((8, 1), (4, 2), (2, 4)):
        config = {"per_device_train_batch_size": batch, "gradient_accumulation_steps": accumulated, "optim": "sgd"}
        trainer = make(
            tmp_path,
            algorithm=algorithm,
            model=new_model("image").double(),
            unlabeled_batch_ratio=1,
            max_steps=3,
            learning_rate=0.1,
            ema_role="evaluation",
            algorithm_kwargs=None,
            **config,
        )
        losses = losses_of(trainer)
        found.append((torch.tensor(losses, dtype=torch.float64), trainer.model.state_dict(), trainer.ema.state_dict()))
    for losses, student, ema in found[1:]:
        assert torch.allclose(losses, found[0][0], rtol=1e-5)
        for state, expected in ((student, found[0][1]), (ema, found[0][2])):
            assert all(torch.allclose(state[name], expected[name], rtol=0, atol=1e-9) for name in expected)


def test_a_global_batch_size_is_divided_among_processes_and_passes(tmp_path):
    args = SSLConfig(output_dir=str(tmp_path), global_batch_size=8, gradient_accumulation_steps=2, use_cpu=True)
    assert args.per_device_train_batch_size == 4
    with pytest.raises(
        ValueError, match="global_batch_size must be a multiple of processes x gradient_accumulation_steps"
    ):
        SSLConfig(output_dir=str(tmp_path), global_batch_size=9, gradient_accumulation_steps=2, use_cpu=True)


# ---- Batch normalization ----


def make_resnet():
    torch.manual_seed(0)
    config = ResNetConfig(embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], layer_type="basic", num_labels=3)
    return ResNetForImageClassification(config)


def first_mean(model):
    return next(b for name, b in model.named_buffers() if name.endswith("running_mean")).clone()


@pytest.mark.parametrize(
    ("setting", "seen"),
    [("published", ("labeled", "weak", "strong")), ("labeled", ("labeled",)), ("all", ("labeled", "weak", "strong"))],
)
def test_which_views_enter_the_running_statistics_is_a_setting(setting, seen):
    generator = torch.Generator().manual_seed(0)
    views = {
        name: {"pixel_values": torch.randn(4, 3, 12, 12, generator=generator) + 3 * i}
        for i, name in enumerate(("labeled", "weak", "strong"))
    }
    model, expected = make_resnet(), make_resnet()
    out = ModelForward(model, batch_norm_views=setting)(
        labeled=views["labeled"], strong=views["strong"], no_grad={"weak": views["weak"]}
    )
    expected.train()
    expected(pixel_values=torch.cat([views[name]["pixel_values"] for name in seen]))
    assert torch.allclose(first_mean(model), first_mean(expected), atol=1e-6)
    assert out["strong"].logits.requires_grad and not out["weak"].logits.requires_grad
    assert set(out) == {"labeled", "weak", "strong"}


@pytest.mark.parametrize(
    ("setting", "seen"), [("published", ("labeled",)), ("labeled", ("labeled",)), ("all", ("labeled", "other"))]
)
def test_views_of_separate_calls_enter_only_if_all_do(setting, seen):
    views = {"labeled": torch.zeros(2, 3, 12, 12), "other": torch.ones(2, 3, 12, 12)}
    model, expected = make_resnet(), make_resnet()
    forward = ModelForward(model, batch_norm_views=setting)
    forward(labeled={"pixel_values": views["labeled"]}, frozen={"other": {"pixel_values": views["other"]}})
    expected(pixel_values=torch.cat([views[name] for name in seen]))
    assert torch.allclose(first_mean(model), first_mean(expected), atol=1e-6)


def test_the_trainer_passes_the_setting_on(tmp_path):
    means = {}
    for setting in ("published", "labeled"):
        trainer = make(tmp_path, model=make_resnet(), batch_norm_views=setting, max_steps=1)
        trainer.train()
        means[setting] = first_mean(trainer.model)
    assert not torch.allclose(means["published"], means["labeled"])


# ---- Precision, memory, speed ----


@pytest.mark.parametrize("modality", ["image", "text", "audio"])
@pytest.mark.parametrize("algorithm", ["fixmatch", "simmatch", "mean_teacher"])
def test_bf16_autocast_follows_float32(algorithm, modality, tmp_path):
    role = {"ema_role": "evaluation"}
    exact = losses_of(make(tmp_path, modality, algorithm=algorithm, max_steps=2, **role))
    rounded = losses_of(make(tmp_path, modality, algorithm=algorithm, max_steps=2, bf16=True, **role))
    assert exact != rounded
    assert rounded == pytest.approx(exact, rel=0.05, abs=0.05)


@pytest.mark.parametrize("modality", ["image", "text", "audio"])
def test_activation_checkpointing_changes_nothing_but_memory(modality, tmp_path):
    plain = losses_of(make(tmp_path, modality))
    assert losses_of(make(tmp_path, modality, gradient_checkpointing=True)) == pytest.approx(plain, rel=1e-4)


@pytest.mark.parametrize("modality", ["image", pytest.param("text", marks=pytest.mark.slow)])
def test_a_compiled_model_trains_the_same_and_is_not_compiled_again(modality, tmp_path):
    """Texts are padded to one length, so that shapes stay the same: no graph is added after the first steps."""
    from torch._dynamo.utils import counters

    class Count(TrainerCallback):
        graphs = []

        def on_step_end(self, args, state, control, **kwargs):
            self.graphs.append(counters["stats"]["unique_graphs"])

    torch._dynamo.reset()
    counters.clear()
    config = {"algorithm": "mean_teacher" if modality == "image" else "fixmatch", "max_steps": 5}
    trainer = make(tmp_path, modality, torch_compile=True, torch_compile_backend="aot_eager", **config)
    trainer.add_callback(Count())
    Count.graphs = []
    compiled = losses_of(trainer)
    assert Count.graphs[0] > 0
    assert Count.graphs[1:] == [Count.graphs[1]] * 4
    assert compiled == pytest.approx(losses_of(make(tmp_path, modality, **config)), rel=1e-3)
    assert trainer.evaluate()["eval_accuracy"] >= 0
    trainer.save_model(str(tmp_path / "saved"))
    if modality == "image":
        loaded = AutoModelForImageClassification.from_pretrained(tmp_path / "saved")
        student = trainer.accelerator.unwrap_model(trainer.model, keep_torch_compile=False)
        assert torch.equal(loaded.classifier.weight, student.classifier.weight)


@pytest.mark.parametrize("algorithm", ["fixmatch", "comatch"])
def test_a_batch_that_does_not_fit_is_halved_and_memories_with_it(algorithm, tmp_path):
    trainer = make(tmp_path, algorithm=algorithm, per_device_train_batch_size=4, auto_find_batch_size=True)
    step = trainer.compute_loss

    def out_of_memory(model, inputs, *args, **kwargs):
        if "unlabeled" in inputs and len(inputs["labels"]) > 2:
            raise RuntimeError("CUDA out of memory.")
        return step(model, inputs, *args, **kwargs)

    trainer.compute_loss = out_of_memory
    trainer.train()
    assert trainer.state.global_step == 4
    assert trainer.algorithm.labeled_batch_size == 2 and trainer.algorithm.unlabeled_batch_size == 4
    in_training = {id(p) for group in trainer.optimizer.param_groups for p in group["params"]}
    assert in_training >= {id(p) for p in trainer.algorithm.parameters()}
    direct = make(tmp_path, algorithm=algorithm, per_device_train_batch_size=2)
    direct.train()
    expected = direct.model.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in trainer.model.state_dict().items())


def test_gradients_of_model_and_heads_are_clipped_together(tmp_path):
    norms = []

    class Norm(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
            parameters = [*model.parameters(), *trainer.algorithm.parameters()]
            norms.append(torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None]).item())

    trainer = make(tmp_path, algorithm="simmatch", max_grad_norm=0.01)
    trainer.add_callback(Norm())
    trainer.train()
    assert norms == pytest.approx([0.01] * 4, rel=1e-3)
    # The logged norm is the one before clipping.
    assert all(row["grad_norm"] > 0.1 for row in trainer.state.log_history if "grad_norm" in row)


def test_texts_of_similar_length_share_a_batch_and_resuming_stays_exact(tmp_path):
    padding = {}
    for strategy in ("random", "group_by_length"):
        trainer = make(tmp_path, "text", train_sampling_strategy=strategy)
        batches = list(trainer.get_train_dataloader())
        padding[strategy] = sum((batch["unlabeled"]["weak"]["attention_mask"] == 0).sum().item() for batch in batches)
    assert padding["group_by_length"] < padding["random"]
    config = {"train_sampling_strategy": "group_by_length", "save_strategy": "steps", "save_steps": 2}
    whole = make(tmp_path, "text", **config)
    whole.train()
    resumed = make(tmp_path, "text", **config)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    expected = whole.model.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in resumed.model.state_dict().items())


def test_only_texts_are_grouped_by_length(tmp_path):
    with pytest.raises(ValueError, match="'group_by_length' is for texts and this is image"):
        make(tmp_path, train_sampling_strategy="group_by_length").train()


# ---- PEFT ----


def lora_model():
    import peft

    config = peft.LoraConfig(
        r=2, target_modules=["q_proj", "v_proj", "query", "value"], modules_to_save=["classifier"]
    )
    return peft.get_peft_model(make_vit(), config)


def test_only_adapters_of_a_peft_model_train_and_are_saved(tmp_path):
    from peft import PeftModel
    from safetensors import safe_open

    trainer = make(tmp_path, model=lora_model(), ema_role="both", ema_decay=0.5, save_strategy="steps", save_steps=2)
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    trainer.train()
    after = trainer.model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all("lora_" in name or "modules_to_save" in name for name in changed)
    checkpoint = tmp_path / "checkpoint-4"
    assert (checkpoint / "adapter_model.safetensors").is_file() and not (checkpoint / "model.safetensors").exists()
    for name in ("ssl_student.safetensors", "ssl_ema.safetensors"):
        with safe_open(checkpoint / name, framework="pt") as file:
            names = list(file.keys())
        assert names and all("lora_" in name or "modules_to_save" in name for name in names)
    loaded = PeftModel.from_pretrained(make_vit(), checkpoint)
    averaged = dict(trainer.ema.module.named_parameters())
    adapters = {n: p for n, p in loaded.named_parameters() if "lora_" in n or "modules_to_save" in n}
    assert adapters and all(torch.equal(p, averaged[n]) for n, p in adapters.items())


def test_a_peft_run_resumes_bit_for_bit(tmp_path):
    config = {"ema_role": "evaluation", "save_strategy": "steps", "save_steps": 2}
    whole = make(tmp_path, model=lora_model(), **config)
    whole.train()
    resumed = make(tmp_path, model=lora_model(), **config)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    expected = whole.model.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in resumed.model.state_dict().items())


ON_THE_HEAD = {"r": 2, "target_modules": ["q_proj", "v_proj", "classifier"]}


def with_adapter(kind="LoRA", adapter="default", seed=0, **settings):
    """A ViT with an adapter on attention and head, or another of ours."""
    import peft

    configs = {
        "LoRA": lambda: peft.LoraConfig(**{**ON_THE_HEAD, **settings}),
        "DoRA": lambda: peft.LoraConfig(**ON_THE_HEAD, use_dora=True),
        "all-linear": lambda: peft.LoraConfig(r=2, target_modules="all-linear"),
        "IA3": lambda: peft.IA3Config(target_modules=ON_THE_HEAD["target_modules"], feedforward_modules=[]),
        "VeRA": lambda: peft.VeraConfig(r=2, target_modules=["classifier"]),
    }
    torch.manual_seed(seed)
    return peft.get_peft_model(make_vit(), configs[kind](), adapter_name=adapter)


def logits_of(model):
    pixels = torch.randn(3, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return model.eval()(pixel_values=pixels).logits


@pytest.mark.parametrize("kind", ["LoRA", "DoRA", "all-linear", "IA3", "VeRA"])
def test_a_trained_adapter_on_the_head_gives_the_same_logits_when_loaded(kind, tmp_path):
    from peft import PeftModel

    config = {"algorithm": "simmatch", "ema_role": "evaluation", "ema_decay": 0.5, "learning_rate": 0.1}
    trainer = make(tmp_path, model=with_adapter(kind), max_steps=3, **config)
    before = logits_of(trainer.model)
    trainer.train()
    trainer.save_model(str(tmp_path / "saved"))
    with trainer.ema.swapped_into():
        trained = logits_of(trainer.model)
    assert (trained - before).abs().max() > 1e-4
    # Another random head below the adapter: what was saved restores it.
    base = make_vit()
    torch.nn.init.normal_(base.classifier.weight)
    assert torch.equal(logits_of(PeftModel.from_pretrained(base, tmp_path / "saved")), trained)


@pytest.mark.parametrize("adapter", ["default", "first"])
def test_a_run_with_an_adapter_on_the_head_resumes_bit_for_bit(adapter, tmp_path):
    config = {"ema_role": "evaluation", "save_strategy": "steps", "save_steps": 2}
    whole = make(tmp_path, model=with_adapter(adapter=adapter), **config)
    whole.train()
    other = with_adapter(adapter=adapter)
    torch.nn.init.normal_(other.base_model.model.classifier.base_layer.weight)
    resumed = make(tmp_path, model=other, **config)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    expected = whole.model.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in resumed.model.state_dict().items())


@pytest.mark.parametrize("adapter", ["default", "first"])
def test_the_best_adapter_is_loaded_at_the_end(adapter, tmp_path):
    """With a learning rate that ruins the model after its first step, the first checkpoint is the best one."""
    config = {"save_strategy": "steps", "save_steps": 1, "eval_strategy": "steps", "eval_steps": 1, "max_steps": 2}
    trainer = make(
        tmp_path,
        model=with_adapter(adapter=adapter, lora_alpha=64),
        load_best_model_at_end=True,
        metric_for_best_model="loss",
        learning_rate=2.0,
        optim="sgd",
        **config,
    )
    trainer.train()
    losses = [row["eval_loss"] for row in trainer.state.log_history if "eval_loss" in row]
    assert losses[0] < losses[1]
    assert trainer.evaluate()["eval_loss"] == pytest.approx(losses[0], rel=1e-5)


def test_an_adapter_that_loses_the_head_is_refused_at_construction(tmp_path):
    model = with_adapter(target_modules=["q_proj", "v_proj"])
    with pytest.raises(
        ValueError, match=r'neither trained nor saved; set modules_to_save=\["classifier"\] in LoraConfig'
    ):
        make(tmp_path, model=model)


# ---- Evaluation ----


def test_the_weights_to_evaluate_can_be_chosen(tmp_path):
    trainer = make(tmp_path, ema_role="evaluation", ema_decay=0.5, learning_rate=0.1)
    trainer.train()
    averaged, student = trainer.evaluate(), trainer.evaluate(weights="student")
    assert trainer.evaluate(weights="ema")["eval_loss"] == averaged["eval_loss"] != student["eval_loss"]
    test = task("image")["eval_dataset"]
    predictions = {name: trainer.predict(test, weights=name).predictions for name in ("student", "ema")}
    with torch.no_grad():
        batch = trainer.data_collator([test[i] for i in range(len(test))])
        batch.pop("labels")
        expected = trainer.model.eval()(**batch).logits.numpy()
    assert predictions["student"] == pytest.approx(expected, abs=1e-5)
    assert abs(predictions["ema"] - expected).max() > 1e-3


@pytest.mark.parametrize(
    ("role", "weights", "message"),
    [
        ("none", "ema", "needs a moving average, and none is kept; set ema_role='evaluation' and train"),
        ("evaluation", "best", "weights must be 'student' or 'ema', got 'best'"),
    ],
)
def test_weights_that_do_not_exist_are_refused(role, weights, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        make(tmp_path, ema_role=role).evaluate(weights=weights)


# ---- Logging and refusals ----


def test_tensorboard_shows_the_terms_of_the_loss(tmp_path, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "events"))
    trainer = make(tmp_path, report_to="tensorboard")
    trainer.train()
    events = EventAccumulator(str(next((tmp_path / "events").rglob("events.out*")).parent))
    events.Reload()
    assert {"train/loss", "train/supervised", "train/unsupervised", "train/mask_ratio"} <= set(
        events.Tags()["scalars"]
    )
