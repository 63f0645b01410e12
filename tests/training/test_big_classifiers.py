"""Decoders with LoRA, also on 4-bit weights: they train, resume, are saved and can be used by `pipeline()`."""

import pytest
import torch
from safetensors import safe_open
from transformers import BitsAndBytesConfig, PreTrainedTokenizerFast, pipeline
from transformers.utils import is_bitsandbytes_available

from hf_ssl import SSLConfig, SSLTrainer
from hf_ssl.model.lora import with_lora

from tests.helpers.resuming import log_lines
from tests.helpers.sequence_models import DECODERS, decoder
from tests.helpers.tiny_tasks import NAMES, task

pytest.importorskip("peft")


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    """Folders of two tiny decoders, as they would be downloaded."""
    folder = tmp_path_factory.mktemp("bases")
    for name in ("qwen3", "llama"):
        model = decoder(name)
        model.config.id2label = dict(enumerate(NAMES))
        model.save_pretrained(folder / name)
    return folder


def adapted(bases, name, seed=0, **loading):
    torch.manual_seed(seed)
    return with_lora(DECODERS[name][0].from_pretrained(bases / name, **loading))


def make(model, folder, algorithm="fixmatch", **config):
    args = SSLConfig(
        str(folder),
        algorithm=algorithm,
        algorithm_kwargs={"threshold": 0.34} if algorithm in ("fixmatch", "simmatch") else None,
        **{"max_steps": 4, "save_steps": 2, "per_device_train_batch_size": 2, "unlabeled_batch_ratio": 2, **config},
        learning_rate=1e-2,
        logging_steps=1,
        dataloader_num_workers=0,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
    )
    return SSLTrainer(model, args, **task("text"))


def values(trainer):
    return {name: parameter.detach().clone() for name, parameter in trainer.model.named_parameters()}


CASES = {
    "qwen3, simmatch": ("qwen3", {"algorithm": "simmatch", "ema_decay": 0.5}),
    "llama, freematch": ("llama", {"algorithm": "freematch", "ema_role": "evaluation", "ema_decay": 0.5}),
    "qwen3, in pieces, checkpointed": ("qwen3", {"view_micro_batch": 2, "gradient_checkpointing": True}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_decoder_with_lora_trains_its_adapters_and_resumes_bit_for_bit(case, bases, tmp_path):
    name, config = CASES[case]
    whole = make(adapted(bases, name), tmp_path, **config)
    before = values(whole)
    whole.train()
    after = values(whole)
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed == {key for key, parameter in whole.model.named_parameters() if parameter.requires_grad}
    resumed = make(adapted(bases, name, seed=1), tmp_path, **config)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert [key for key, value in values(resumed).items() if not torch.equal(value, after[key])] == []
    assert log_lines(resumed) == log_lines(whole)


def test_gradients_are_those_without_checkpoints_and_pieces(bases, tmp_path):
    """A frozen table of embeddings gives layers an input without gradient, which reentrant checkpoints cannot take."""
    ended = {}
    for name, config in {
        "plain": {},
        "pieces": {"view_micro_batch": 2},
        "checkpoints": {"gradient_checkpointing": True},
        "reentrant": {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": True}},
        "pieces, reentrant": {
            "view_micro_batch": 2,
            "gradient_checkpointing": True,
            "gradient_checkpointing_kwargs": {"use_reentrant": True},
        },
    }.items():
        trainer = make(
            adapted(bases, "qwen3"), tmp_path / name, save_strategy="no", max_steps=2, optim="sgd", **config
        )
        trainer.train()
        ended[name] = values(trainer)
    for name, found in ended.items():
        far = max((found[key] - expected).abs().max() for key, expected in ended["plain"].items())
        assert far < 1e-6, name


def test_the_saved_adapter_answers_in_a_pipeline_as_the_trainer_does(bases, tmp_path):
    trainer = make(adapted(bases, "qwen3"), tmp_path, save_strategy="no")
    trainer.train()
    trainer.save_model()
    texts = task("text")["eval_dataset"]["text"][:4]
    expected = torch.softmax(torch.tensor(trainer.predict(task("text")["eval_dataset"]).predictions[:4]), -1)
    # By its class: by the model's type, transformers would take these words for byte pairs.
    words = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    classify = pipeline("text-classification", model=str(tmp_path), tokenizer=words, top_k=None)
    for row, answers in zip(expected, classify(list(texts)), strict=True):
        found = {answer["label"]: answer["score"] for answer in answers}
        assert [found[label] for label in NAMES] == pytest.approx(row.tolist(), abs=1e-5)


# ---- 4-bit weights ----

needs_bitsandbytes = pytest.mark.skipif(not is_bitsandbytes_available(), reason="bitsandbytes is not installed")


def in_4_bits(bases, seed=0, **changes):
    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
        llm_int8_skip_modules=["score"],
        **changes,
    )
    return adapted(bases, "qwen3", seed, quantization_config=config)


@needs_bitsandbytes
@pytest.mark.parametrize("config", [{}, {"algorithm": "mean_teacher", "ema_role": "both", "ema_decay": 0.5}])
def test_a_run_on_4_bit_weights_resumes_bit_for_bit(config, bases, tmp_path):
    config = {"eval_strategy": "steps", "eval_steps": 1, **config}
    whole = make(in_4_bits(bases), tmp_path, **config)
    whole.train()
    with safe_open(tmp_path / "checkpoint-2" / "ssl_student.safetensors", framework="pt") as file:
        assert all("lora_" in name or "modules_to_save" in name for name in file.keys())  # noqa: SIM118
    resumed = make(in_4_bits(bases, seed=1), tmp_path, **config)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    expected = values(whole)
    assert [key for key, value in values(resumed).items() if not torch.equal(value, expected[key])] == []
    assert log_lines(resumed) == log_lines(whole)
    other = make(in_4_bits(bases, bnb_4bit_quant_storage=torch.float32), tmp_path, **config)
    with pytest.raises(ValueError, match="belongs to another base model: its frozen "):
        other.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))


@needs_bitsandbytes
def test_gradients_after_an_evaluation_are_those_before_it(bases, tmp_path):
    """bitsandbytes packs weights for inference on some CPUs, and its product with these has no gradient."""
    trainer = make(in_4_bits(bases), tmp_path, save_strategy="no")
    model = trainer.model

    def gradients():
        model.train().zero_grad()
        ids = torch.tensor([[5, 6, 7, 8]])
        model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.square().sum().backward()
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    torch.nn.init.ones_(next(p for name, p in model.named_parameters() if "layers.0" in name and "lora_B" in name))
    before = gradients()
    trainer.evaluate()
    after = gradients()
    assert [name for name in before if not torch.equal(before[name], after[name])] == []
    assert max(before[name].abs().max() for name in before if "layers.0" in name) > 0
