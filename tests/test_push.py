"""Pushing models: the real clients, in processes of their own, against a loopback Hub."""

import json
import re
import shutil

import pytest
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results

from command_data import save_model
from hub_client import run_client
from loopback_hub import READ_TOKEN, TOKEN, LoopbackHub

MODEL_FILES = {"README.md", "config.json", "model.safetensors", "preprocessor_config.json", "ssl_config.json"}
ADAPTER_FILES = MODEL_FILES - {"config.json", "model.safetensors"} | {"adapter_config.json", "adapter_model.safetensors"}
STATE = {"optimizer.pt", "scheduler.pt", "trainer_state.json", "ssl_student.safetensors", "ssl_algorithm.safetensors"}


@pytest.fixture
def hub():
    with LoopbackHub() as running:
        yield running


def check_card(content: bytes) -> ModelCard:
    """A card is complete: it parses, its model-index comes back the same, and nothing is left to fill in."""
    card = ModelCard(content.decode())
    name, results = model_index_to_eval_results(card.data.to_dict()["model-index"])
    assert eval_results_to_model_index(name, results) == card.data.to_dict()["model-index"]
    assert card.data.library_name == "transformers" and card.data.pipeline_tag.endswith("-classification")
    assert {"hf-ssl", "semi-supervised"} <= set(card.data.tags)
    yaml.safe_load(card.content.split("---")[1])
    for word in ("More information needed", "TODO", "None", "nan"):
        assert word not in card.content
    return card


def check_private(files: dict[str, bytes], *secrets: str) -> None:
    for name, content in files.items():
        for secret in (TOKEN, *secrets):
            assert secret.encode() not in content, (name, secret)
        assert name.rpartition("/")[2] != "training_args.bin"


TRAIN = """
import sys, torch, transformers
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForImageClassification, TimmWrapperConfig, TimmWrapperForImageClassification, pipeline
from hf_ssl import SSLConfig, SSLTrainer
from tiny_tasks import new_model, task
transformers.logging.set_verbosity_error()
folder = sys.argv[1]

def make(name, model=None, **config):
    defaults = dict(max_steps=4, per_device_train_batch_size=2, learning_rate=1e-2, use_cpu=True, disable_tqdm=True)
    defaults |= dict(save_strategy="steps", save_steps=2, eval_strategy="steps", eval_steps=2, dataloader_pin_memory=False)
    defaults |= dict(report_to="none", hub_model_id=f"someone/{name}", hub_token="TOKEN", save_total_limit=1)
    args = SSLConfig(output_dir=f"{folder}/{name}-run", **{**defaults, **config})
    return SSLTrainer(model or new_model("image"), args, **task("image"))

def scores(model, name):
    inputs = [row["image"] for row in task("image")["eval_dataset"]]
    classify = pipeline("image-classification", model, image_processor=task("image")["processing_class"], top_k=None)
    return [{found["label"]: round(found["score"], 4) for found in row} for row in classify(inputs)]

told = {}
for strategy in ("end", "every_save", "checkpoint", "all_checkpoints"):
    trainer = make(strategy, push_to_hub=True, hub_strategy=strategy, load_best_model_at_end=strategy == "checkpoint")
    trainer.train()
    if strategy == "end":
        trainer.push_to_hub()
        told["end"] = scores(trainer.model, "end")
        told["again"] = trainer.push_to_hub().oid
    trainer._finish_current_push()

private = make("private", hub_private_repo=True, hub_strategy="end", save_strategy="no")
private.train()
private.push_to_hub(commit_message="Kept to ourselves", license="mit", dataset="brightness")

base = AutoModelForImageClassification.from_pretrained("someone/end")
adapter = get_peft_model(base, LoraConfig(r=2, target_modules=["q_proj", "v_proj"], modules_to_save=["classifier"]))
trainer = make("adapter", adapter, save_strategy="no")
trainer.train()
trainer.push_to_hub()
told["adapter"] = scores(trainer.model.merge_and_unload(), "adapter")

config = TimmWrapperConfig(architecture="resnet10t", num_labels=3, model_args={"in_chans": 3})
trainer = make("timm", TimmWrapperForImageClassification(config), save_strategy="no", max_steps=2)
trainer.train()
trainer.push_to_hub()
told["timm"] = scores(trainer.model, "timm")
tell(told)
""".replace('"TOKEN"', f'"{TOKEN}"')

LOAD = """
from transformers import pipeline
from tiny_tasks import task
inputs = [row["image"] for row in task("image")["eval_dataset"]]
told = {}
for name in ("end", "adapter", "timm", "every_save"):
    classify = pipeline("image-classification", f"someone/{name}", top_k=None)
    told[name] = [{found["label"]: round(found["score"], 4) for found in row} for row in classify(inputs)]
try:
    pipeline("image-classification", "someone/private")
except Exception as error:
    told["private"] = str(error)
tell(told)
"""


@pytest.mark.slow
def test_pushed_models_load_by_their_ids(hub, tmp_path):
    trained = run_client(hub, tmp_path / "home", TRAIN, tmp_path)
    repositories = {name.removeprefix("someone/"): repository for name, repository in hub.repositories.items()}

    assert {name: set(repository.files) for name, repository in repositories.items()} == {
        "end": MODEL_FILES,
        "every_save": MODEL_FILES,
        "checkpoint": MODEL_FILES | {path for path in repositories["checkpoint"].files if path.startswith("last-checkpoint/")},
        "all_checkpoints": MODEL_FILES | {path for path in repositories["all_checkpoints"].files if path.startswith("checkpoint-")},
        "private": MODEL_FILES,
        "adapter": ADAPTER_FILES,
        "timm": MODEL_FILES,
    }
    assert STATE <= {path.removeprefix("last-checkpoint/") for path in repositories["checkpoint"].files}
    for step in (2, 4):
        assert STATE <= {path.removeprefix(f"checkpoint-{step}/") for path in repositories["all_checkpoints"].files}
    state = json.loads(repositories["checkpoint"].files["last-checkpoint/trainer_state.json"])
    assert state["best_model_checkpoint"] in ("checkpoint-2", "checkpoint-4")
    assert {name for name, repository in repositories.items() if repository.private} == {"private"}
    for name, repository in repositories.items():
        check_private(repository.files, str(tmp_path))
        card = check_card(repository.files["README.md"])
        assert f'model = "someone/{name}"' in card.content
        # Also what was pushed first has its card.
        assert all("README.md" in files for _, files in repository.commits[1:])
    titles = [title for title, _ in repositories["every_save"].commits]
    assert titles[0] == "initial commit" and titles[1] == "Training in progress, step 2"
    assert "2 of them so far" in repositories["every_save"].commits[1][1]["README.md"].decode()
    assert len(repositories["end"].commits) == 2 and trained["again"] == repositories["end"].sha
    assert repositories["private"].commits[-1][0] == "Kept to ourselves"
    card = check_card(repositories["private"].files["README.md"])
    assert card.data.license == "mit" and card.data.eval_results[0].dataset_name == "brightness"
    assert check_card(repositories["adapter"].files["README.md"]).data.base_model == "someone/end"

    loaded = run_client(hub, tmp_path / "fresh", LOAD, token="")
    assert "someone/private" in loaded.pop("private")
    loaded.pop("every_save")
    assert loaded == {name: trained[name] for name in loaded}
