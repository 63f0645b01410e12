"""Models that SSLTrainer and `hf-ssl train` push: the real clients, in separate processes, against a loopback Hub."""

import json
import re

import pytest
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results

from tests.helpers.hub_client import check_private, run_client
from tests.helpers.loopback_hub import TOKEN, LoopbackHub

MODEL_FILES = {"README.md", "config.json", "model.safetensors", "preprocessor_config.json", "ssl_config.json"}
ADAPTER_FILES = MODEL_FILES - {"config.json", "model.safetensors"} | {
    "adapter_config.json",
    "adapter_model.safetensors",
    "base/config.json",
}
STATE = {"optimizer.pt", "scheduler.pt", "trainer_state.json", "ssl_student.safetensors", "ssl_algorithm.safetensors"}


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


TRAIN = """
import datasets, gc, os, sys, torch, transformers
from huggingface_hub import HfApi, ModelCard
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForImageClassification, pipeline
from transformers import TimmWrapperConfig, TimmWrapperForImageClassification
from hf_ssl import SSLConfig, SSLTrainer
from tests.helpers.tiny_tasks import TASKS, make_texts, new_model, task
transformers.logging.set_verbosity_error()
gc.freeze()
folder = sys.argv[1]

def make(name, model=None, **config):
    defaults = dict(max_steps=4, per_device_train_batch_size=2, learning_rate=1e-2, use_cpu=True, disable_tqdm=True)
    defaults |= dict(save_strategy="steps", save_steps=2, eval_strategy="steps", eval_steps=2)
    defaults |= dict(dataloader_pin_memory=False, report_to="none", save_total_limit=1)
    defaults |= dict(hub_model_id=f"someone/{name}", hub_token="TOKEN")
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

# The first push fails, in its thread: training goes on, and the next one brings all.
fail("/preupload/", 6)
trainer = make("flaky", push_to_hub=True, hub_strategy="checkpoint")
trainer.train()
trainer._finish_current_push()
ModelCard.load("someone/end").validate()

# What cannot be pushed is said before the training, not after it.
try:
    make("refused", push_to_hub=True, hub_token="hf_wrong_9876543210")
except OSError as error:
    told["refused"] = str(error)

private = make("private", hub_private_repo=True, hub_strategy="end", save_strategy="no")
private.train()
private.push_to_hub(commit_message="Kept to ourselves", license="mit", dataset="brightness")

backbone = new_model("image").vit
backbone.config.num_labels = 2
backbone.push_to_hub("someone/backbone")
base = AutoModelForImageClassification.from_pretrained("someone/backbone", num_labels=3)
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

# From the command line, with all data on the Hub.
new_model("text").push_to_hub("someone/tiny-text")
TASKS["text"][1]().push_to_hub("someone/tiny-text")
card = b"---\\nlicense: cc-by-4.0\\n---\\n"
HfApi().upload_file(path_or_fileobj=card, path_in_repo="README.md", repo_id="someone/tiny-text")
parts = {"labeled": make_texts(12, 0), "test": make_texts(60, 2)}
datasets.DatasetDict(parts).push_to_hub("someone/colors", "labels12_seed0")
make_texts(48, 1).remove_columns("label").push_to_hub("someone/pool", split="train")
data = "someone/colors:labels12_seed0"
open("recipe.yaml", "w").write("algorithm: flexmatch\\nalgorithm_kwargs: {threshold: 0.34}\\nema_decay: 0.5\\n")
done = cli("train", "--model", "someone/tiny-text", "--labeled", f"{data}@labeled", "--unlabeled", "someone/pool",
    "--test", f"{data}@test", "--config", os.path.abspath("recipe.yaml"), "--ema_role", "evaluation",
    "--max_steps", "60", "--eval_steps", "20", "--save_steps", "20", "--learning_rate", "5e-2",
    "--per_device_train_batch_size", "4", "--seed", "0", "--use_cpu", "--disable_tqdm", "true",
    "--baseline", "--output_dir", f"{folder}/secret-folder", "--push_to_hub", "--hub_model_id", "someone/result",
    "--hub_token", sys.argv[2])
assert done[0] == 0, done
tell(told)
""".replace('"TOKEN"', f'"{TOKEN}"')

LOAD = r"""
import os, shlex, sys
from huggingface_hub import ModelCard
from transformers import pipeline
from tests.helpers.tiny_tasks import task
inputs = [row["image"] for row in task("image")["eval_dataset"]]
told = {}
for name in ("end", "adapter", "timm"):
    if name == "adapter":
        # As the card says: its base model is no classifier.
        card = ModelCard.load("someone/adapter").content.split("```python")[1].split("```")[0].strip().splitlines()
        code = {}
        exec("\n".join(card[:-1]), code)
        classify = pipeline("image-classification", code["classifier"], image_processor="someone/adapter", top_k=None)
        assert card[-1] == 'pipeline("image-classification", classifier, image_processor=model)("photo.jpg")'
    else:
        classify = pipeline("image-classification", f"someone/{name}", top_k=None)
    told[name] = [{found["label"]: round(found["score"], 4) for found in row} for row in classify(inputs)]
try:
    pipeline("image-classification", "someone/private")
except Exception as error:
    told["private"] = str(error)
os.mkdir("elsewhere")
os.chdir("elsewhere")
told["repeated"] = cli(*shlex.split(sys.argv[1])[1:])
tell(told)
"""
# Not models that this package has trained.
BESIDE = {"backbone", "tiny-text", "colors", "pool"}


@pytest.fixture(scope="module")
def pushed(tmp_path_factory):
    """A Hub with every kind of model that is pushed, the folder that they were trained in, and what training told."""
    folder = tmp_path_factory.mktemp("pushed")
    with LoopbackHub() as hub:
        yield hub, folder, run_client(hub, folder / "home", TRAIN, folder, TOKEN)


@pytest.fixture(scope="module")
def loaded(pushed):
    """What somebody else gets who has the ids and the pages alone: no token, no files, an empty cache."""
    hub, folder, _ = pushed
    return run_client(
        hub, folder / "fresh", LOAD, command_of(hub.repositories["someone/result"].files["README.md"]), token=""
    )


def command_of(card: bytes) -> str:
    (command,) = re.findall(r"^hf-ssl train .*", card.decode(), re.MULTILINE)
    return command


@pytest.mark.slow
def test_what_is_pushed_is_complete_and_nothing_else(pushed):
    hub, folder, trained = pushed
    repositories = {name.removeprefix("someone/"): repository for name, repository in hub.repositories.items()}
    repositories = {name: repository for name, repository in repositories.items() if name not in BESIDE}

    def below(name, folder):
        return {path for path in repositories[name].files if path.startswith(folder)}

    assert {name: set(repository.files) for name, repository in repositories.items()} == {
        "end": MODEL_FILES | {"curves.png"},
        "every_save": MODEL_FILES,
        "checkpoint": MODEL_FILES | below("checkpoint", "last-checkpoint/"),
        "all_checkpoints": MODEL_FILES
        | {path for path in repositories["all_checkpoints"].files if path.startswith("checkpoint-")},
        "flaky": MODEL_FILES | below("flaky", "last-checkpoint/"),
        "private": MODEL_FILES | {"curves.png"},
        "adapter": ADAPTER_FILES | {"curves.png"},
        "timm": MODEL_FILES | {"curves.png"},
        "result": MODEL_FILES - {"preprocessor_config.json"}
        | {"curves.png", "results.json", "tokenizer.json", "tokenizer_config.json"},
    }
    for name, folders in (("checkpoint", ["last-checkpoint"]), ("all_checkpoints", ["checkpoint-2", "checkpoint-4"])):
        assert {f"{folder}/{file}" for folder in folders for file in STATE}.issubset(repositories[name].files)
    state = json.loads(repositories["checkpoint"].files["last-checkpoint/trainer_state.json"])
    assert state["best_model_checkpoint"] in ("checkpoint-2", "checkpoint-4")
    assert {name for name, repository in repositories.items() if repository.private} == {"private"}
    for name, repository in repositories.items():
        check_private(repository.files, str(folder), "secret-folder", "recipe.yaml")
        card = check_card(repository.files["README.md"])
        assert f'model = "someone/{name}"' in card.content
        assert ("(curves.png)" in card.content) == ("curves.png" in repository.files)
        # Also what was pushed first has its card.
        assert all("README.md" in files for _, files in repository.commits[1:])
    titles = [title for title, _ in repositories["every_save"].commits]
    assert titles[0] == "initial commit" and titles[1] == "Training in progress, step 2"
    assert "2 of them so far" in repositories["every_save"].commits[1][1]["README.md"].decode()
    assert len(repositories["end"].commits) == 2 and trained["again"] == repositories["end"].sha
    assert [title for title, _ in repositories["flaky"].commits[1:]] == ["Training in progress, step 4"]
    assert trained["refused"].startswith(
        "someone/refused: the Hub does not know this access token; make one with write"
    )
    assert repositories["private"].commits[-1][0] == "Kept to ourselves"
    card = check_card(repositories["private"].files["README.md"])
    assert card.data.license == "mit" and card.data.eval_results[0].dataset_name == "brightness"
    assert check_card(repositories["adapter"].files["README.md"]).data.base_model == "someone/backbone"


@pytest.mark.slow
def test_pushed_models_load_by_their_ids(pushed, loaded):
    _, _, trained = pushed
    assert {name: loaded[name] for name in ("end", "adapter", "timm")} == {
        name: trained[name] for name in ("end", "adapter", "timm")
    }
    assert "someone/private" in loaded["private"]


@pytest.mark.slow
def test_the_command_on_the_card_repeats_the_run(pushed, loaded):
    hub, folder, _ = pushed
    result = hub.repositories["someone/result"]
    card = check_card(result.files["README.md"])
    metadata = card.data.to_dict()
    assert (metadata["license"], metadata["base_model"], metadata["base_model_relation"]) == (
        "cc-by-4.0",
        "someone/tiny-text",
        "finetune",
    )
    assert metadata["datasets"] == ["someone/colors"]
    accuracy = card.data.eval_results[0]
    revision = hub.repositories["someone/colors"].sha
    assert (accuracy.dataset_type, accuracy.dataset_config) == ("someone/colors", "labels12_seed0")
    assert (accuracy.dataset_split, accuracy.dataset_revision) == ("test", revision)
    supervised, flexmatch = json.loads(result.files["results.json"])["runs"]
    assert accuracy.metric_value == round(flexmatch["test_accuracy"], 6) > 0.4
    for part in (
        f"{supervised['test_accuracy']:.4f}",
        f"{flexmatch['best_accuracy']:.4f}",
        "(curves.png)",
        "12 labels, seed 0",
        f"revision `{revision}`",
        "4 per class",
        "moving average (decay 0.5)",
    ):
        assert part in card.content, part

    status, _, error = loaded["repeated"]
    assert status == 0, error
    repeated = folder / "elsewhere" / "ssl-run"
    runs = json.loads((repeated / "results.json").read_text())["runs"]
    assert [row["test_accuracy"] for row in runs] == [supervised["test_accuracy"], flexmatch["test_accuracy"]]
    assert (repeated / "model.safetensors").read_bytes() == result.files["model.safetensors"]
    digest = re.search(r"labeled set \| SHA-256 `([0-9a-f]{64})`", card.content)[1]
    assert digest in (repeated / "README.md").read_text()
