"""What two processes do with a sharded model: `accelerate launch --num_processes 2 sharded_models.py DIR`.

Each training is done with DDP and with FSDP2. The first process writes <kind>-<case>.safetensors (weights at the end),
each process rank<N>.json (what it found), into DIR.
"""

import gc
import json
import sys
from contextlib import nullcontext
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from torch.distributed.tensor.debug import CommDebugMode
from transformers import ResNetConfig, ResNetForImageClassification

from hf_ssl.distributed import clip_gradients, local_part, whole
from hf_ssl.features import bank
from hf_ssl.model.sharding import reshard

from tests.helpers.fsdp_on_cpu import fsdp_on_cpu
from tests.helpers.resuming import log_lines
from tests.helpers.tiny_tasks import new_model
from tests.helpers.two_processes import make_trainer

KEYWORDS = {"fixmatch": {"threshold": 0.35}, "simmatch": {"threshold": 0.35, "projection_size": 4}}
# Every step is clipped: norms are above this.
SETTINGS = {"optim": "adamw_torch", "learning_rate": 0.01, "max_grad_norm": 0.1, "weight_decay": 0.1}
KINDS = {"ddp": {}, "fsdp": {"fsdp": True}}


def resnet():
    torch.manual_seed(0)
    sizes = {"embedding_size": 8, "hidden_sizes": [8], "depths": [1], "layer_type": "basic"}
    return ResNetForImageClassification(ResNetConfig(**sizes, num_labels=3))


def adapted():
    model = get_peft_model(
        new_model("image"), LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=["classifier"])
    )
    with torch.no_grad():
        model.base_model.model.vit.layers[0].attention.q_proj.lora_B["default"].weight.fill_(0.1)
    return model


ALGORITHMS = ("supervised", "fixmatch", "freematch", "mean_teacher", "simmatch", "allmatch")
RESUMED = ("mean_teacher", "simmatch")
CASES = {
    **{name: {"algorithm": name} for name in ALGORITHMS},
    # Processes meet texts of different lengths at different steps.
    "texts": {"algorithm": "mean_teacher", "modality": "text"},
    # Several calls of the model in a step, and a model that names no table of embeddings.
    "batch norm": {"algorithm": "fixmatch", "model": resnet, "batch_norm_views": "labeled", "double": False},
    "adapter, accumulation": {"algorithm": "fixmatch", "model": adapted, "gradient_accumulation_steps": 2},
    # Adam would make a whole step of what is rounding in the gradient of a bias that has none.
    "head, bfloat16": {"algorithm": "mean_teacher", "start": "head", "bf16": True, "double": False, "optim": "sgd"},
}
# With FSDP alone.
SHARDED = {"texts": {"fsdp_config": {"version": 2, "activation_checkpointing": True}}}


def train(folder, kind, algorithm, resume=None, **config):
    """A trainer after its training."""
    with fsdp_on_cpu() if kind == "fsdp" else nullcontext():
        trainer = trainer_of(folder, kind, algorithm, **config)
        trainer.train(resume_from_checkpoint=resume)
        return trainer


def trainer_of(folder, kind, algorithm, **config):
    model = config.pop("model", None)
    given = {"algorithm_kwargs": KEYWORDS.get(algorithm), "max_steps": 4, "logging_steps": 2, **SETTINGS}
    return make_trainer(folder, algorithm, model=model and model(), **{**given, **KINDS[kind], **config})


def everything(trainer):
    """All tensors of a training, put together from all processes."""
    student = trainer.accelerator.unwrap_model(trainer.model)
    found = {f"student/{name}": tensor for name, tensor in student.state_dict().items()}
    found |= {f"ema/{name}": tensor for name, tensor in trainer.ema.state_dict().items()}
    found |= {f"algorithm/{name}": tensor for name, tensor in trainer.algorithm.state_dict().items()}
    for number, values in sorted(trainer.optimizer.state_dict()["state"].items()):
        found |= {f"optimizer/{number}/{name}": torch.as_tensor(value) for name, value in values.items()}
    return {name: tensor.detach().clone().contiguous() for name, tensor in whole(found).items()}


def evaluations(trainer):
    found = {weights: trainer.evaluate(weights=weights) for weights in ("ema", "student")}
    return {weights: [row["eval_loss"], row["eval_accuracy"]] for weights, row in found.items()}


def compare(folder, name, report):
    """A training with DDP and with FSDP2: the latter, and what each left."""
    left = {}
    for kind in KINDS:
        given = {"double": True, "save_steps": 2 if name in RESUMED else 100, **CASES[name]}
        given |= SHARDED.get(name, {}) if kind == "fsdp" else {}
        trainer = train(folder / f"{kind}-{name}", kind, **given)
        left[kind] = everything(trainer), log_lines(trainer)
        if trainer.args.should_save:
            save_file(left[kind][0], folder / f"{kind}-{name}.safetensors")
        report["logs"][f"{kind} {name}"] = left[kind][1]
        report["evaluation"][f"{kind} {name}"] = evaluations(trainer)
        trainer.accelerator.wait_for_everyone()
    return trainer, left


def parts(trainer):
    """How many weights and averages this process keeps, how many there are, and how often an update sends."""
    student = trainer.accelerator.unwrap_model(trainer.model)
    # Some layers are whole after an evaluation, until the next pass is over.
    reshard(student)
    found = {
        name: [sum(local_part(weight.detach()).numel() for weight in model.parameters()), student.num_parameters()]
        for name, model in (("student", student), ("ema", trainer.ema.module))
    }
    with CommDebugMode() as sent:
        trainer.ema.update()
    return {**found, "sent": sent.get_total_counts()}


def clipped(trainer):
    """The norm of gradients of one, of model and heads together, their number, and what is left of each."""
    student = trainer.accelerator.unwrap_model(trainer.model)
    parameters = [*student.parameters(), *trainer.algorithm.parameters()]
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    norm = clip_gradients(parameters, limit=0.5)
    left = {value for parameter in parameters for value in local_part(parameter.grad).flatten().tolist()}
    return [norm.item(), sum(parameter.numel() for parameter in parameters), sorted(left)]


def resumes(folder, name, left):
    """What differs after an interruption, and by how much if the training then goes on in the other way."""
    found = {}
    for before, after in (("fsdp", "fsdp"), ("fsdp", "ddp"), ("ddp", "fsdp"))[: 3 if name == "simmatch" else 1]:
        checkpoint = str(folder / f"{before}-{name}" / "checkpoint-2")
        run = train(folder / f"{before}-{after}-{name}", after, resume=checkpoint, seed=5, double=True, **CASES[name])
        tensors, lines = everything(run), log_lines(run)
        expected, expected_lines = left[after]
        assert expected.keys() == tensors.keys()
        if before == after:
            same = {key for key in tensors if torch.equal(expected[key], tensors[key])}
            found["differing"] = sorted(tensors.keys() - same) + ["log lines"] * (lines != expected_lines)
        else:
            found[f"{before} to {after}"] = max(
                (expected[key].double() - tensors[key].double()).abs().max().item() for key in tensors
            )
    return found


def best_and_saved(folder):
    """What is evaluated and saved with `load_best_model_at_end`, before, after and after a second training."""
    report = {}
    for kind in KINDS:
        best = {"load_best_model_at_end": True, "metric_for_best_model": "loss", "eval_strategy": "steps"}
        with fsdp_on_cpu() if kind == "fsdp" else nullcontext():
            trainer = trainer_of(
                folder / f"{kind}-best",
                kind,
                "simmatch",
                **best,
                eval_steps=2,
                save_steps=2,
                double=True,
                per_device_eval_batch_size=3,
            )
            before = trainer.evaluate()["eval_loss"]
            trainer.train()
            history = [row["eval_loss"] for row in trainer.state.log_history if "eval_loss" in row]
            after = trainer.evaluate()["eval_loss"]
            trainer.save_model(str(folder / f"{kind}-saved"))
            trainer.train()
            report[kind] = {"before": before, "history": history, "after": after, "again": evaluations(trainer)}
            report[kind]["heads"] = [head.tolist() for head in trainer.algorithm.parameters()][:1]
    return report


def refusal(folder):
    with fsdp_on_cpu():
        try:
            trainer_of(folder / "vat", "fsdp", "vat").train()
        except ValueError as error:
            return str(error)


def main(folder: Path) -> None:
    # As in conftest.py: each training ends with a collection.
    gc.freeze()
    bank.default_cache = lambda: folder / "features"
    (folder / "compared").mkdir(exist_ok=True)
    report = {"logs": {}, "evaluation": {}, "resumed": {}}
    for name in CASES:
        trainer, left = compare(folder / "compared", name, report)
        if name == "mean_teacher":
            report["parts"] = parts(trainer)
        if name in RESUMED:
            report["clipped"] = clipped(trainer)
            report["resumed"][name] = resumes(folder / "compared", name, left)
    report["best"] = best_and_saved(folder)
    report["refusal"] = refusal(folder)
    rank = trainer.args.process_index
    (folder / f"rank{rank}.json").write_text(json.dumps(report))
    trainer.accelerator.end_training()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
