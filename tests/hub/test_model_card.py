"""The model card, and the command on it."""

import dataclasses

import datasets
import numpy as np
import pytest
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results

from hf_ssl.cli.repeat import repeat_command
from hf_ssl.cli.train_options import parse
from hf_ssl.data.duplicates import Duplicates, Overlap
from hf_ssl.data.labels import Classes
from hf_ssl.hub import provenance
from hf_ssl.hub.card_facts import CardFacts
from hf_ssl.hub.model_card import model_card
from hf_ssl.hub.provenance import DataSource
from hf_ssl.problem_types import MULTI_LABEL, REGRESSION

from tests.helpers.run_facts import make_model, make_run
from tests.helpers.tiny_images import make_images
from tests.helpers.tiny_tasks import TASKS, new_model, task


def card_of(trainer) -> ModelCard:
    trainer.create_model_card()
    return ModelCard.load(f"{trainer.args.output_dir}/README.md")


def test_the_card_is_written_from_the_run(make_trainer, tmp_path):
    trainer = make_trainer(eval_strategy="steps", eval_steps=2)
    trainer.train()
    trainer.create_model_card(dataset="made-up pictures", license="apache-2.0", language="en", tags="brightness")
    card = ModelCard.load(tmp_path / "run" / "README.md")
    assert (card.data.library_name, card.data.pipeline_tag) == ("transformers", "image-classification")
    assert (card.data.license, card.data.language, card.data.datasets) == ("apache-2.0", "en", None)
    assert {"hf-ssl", "semi-supervised", "fixmatch", "brightness"} <= set(card.data.tags)
    last = [row for row in trainer.state.log_history if "eval_accuracy" in row][-1]
    values = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert values == {"accuracy": round(last["eval_accuracy"], 6), "f1": round(last["eval_f1"], 6)}
    index = card.data.to_dict()["model-index"]
    assert eval_results_to_model_index(*model_index_to_eval_results(index)) == index
    parts = [
        "6 examples, 3 classes, 2 per class",
        "24 examples",
        "`threshold=0.2`",
        "made-up pictures",
        "sohn2020fixmatch",
    ]
    for part in (
        *parts,
        "wang2022usb",
        "@software{hf_ssl",
        "dark, middle, bright",
        "shifted by up to",
        "CPU",
        "hf-ssl 0.",
    ):
        assert part in card.content, part
    # What was told once stands in every later card; a push tells less.
    trainer.save_model()
    assert ModelCard.load(tmp_path / "run" / "README.md").content == card.content


@pytest.mark.parametrize("modality", TASKS)
def test_the_lines_of_code_on_the_card_run(modality, make_trainer, tmp_path, monkeypatch):
    import re

    import soundfile
    from PIL import Image

    trainer = make_trainer(model=new_model(modality), trainer=task(modality), max_steps=1)
    trainer.train()
    trainer.save_model()
    blocks = re.findall(r"```python\n(.*?)```", card_of(trainer).content, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (12, 12)).save("photo.jpg")
    soundfile.write("recording.wav", [0.1, -0.1] * 2000, 16_000)
    names = {}
    for block in blocks:
        *lines, last = block.strip().splitlines()
        exec("\n".join(lines), names)
        names["answer"] = eval(last.removeprefix("print") if last.startswith("print") else last, names)
        assert names["answer"] in trainer.data.label_names or names["answer"][0]["label"] in trainer.data.label_names
    assert len(blocks) == 2


def test_no_local_path_reaches_the_card(make_trainer, vit, tmp_path, monkeypatch):
    vit.save_pretrained(tmp_path / "private" / "name")
    monkeypatch.chdir(tmp_path)
    trainer = make_trainer("private/name", max_steps=1)
    # Elsewhere, this relative path looks like an id.
    monkeypatch.chdir("/")
    trainer.train()
    trainer.save_model()
    for name in ("README.md", "config.json", "ssl_config.json"):
        content = (tmp_path / "run" / name).read_text()
        assert "private/name" not in content and str(tmp_path) not in content
    assert "base_model" not in (tmp_path / "run" / "README.md").read_text()


def test_the_base_model_is_named_when_it_is_public(make_trainer, tmp_path):
    trainer = make_trainer(max_steps=1)
    trainer.model.config._name_or_path = "google/vit-base-patch16-224"
    assert card_of(trainer).data.base_model == "google/vit-base-patch16-224"


def test_last_and_best_are_told_apart(make_trainer):
    trainer = make_trainer()
    trainer.state.log_history = [
        {"eval_accuracy": 0.9, "eval_f1": 0.8, "eval_runtime": 1.0, "step": 2},
        {"eval_accuracy": 0.7, "eval_f1": 0.6, "eval_runtime": 1.0, "step": 4},
    ]
    card = card_of(trainer)
    assert "| last; this model | 4 | 0.7000 | 0.6000 |" in card.content
    assert "| best seen, chosen by accuracy on these same examples | 2 | 0.9000 | 0.8000 |" in card.content
    assert card.data.eval_results[0].metric_value == 0.7


def test_the_best_weights_are_this_model_once_they_were_loaded(make_trainer):
    settings = {"save_strategy": "steps", "eval_strategy": "steps", "save_steps": 2, "eval_steps": 2}
    trainer = make_trainer(load_best_model_at_end=True, metric_for_best_model="loss", **settings)
    rows = [{"eval_accuracy": 0.9, "eval_loss": 0.3, "step": 2}, {"eval_accuracy": 0.7, "eval_loss": 0.4, "step": 4}]
    trainer.state.log_history = rows
    trainer.state.best_global_step, trainer.state.best_model_checkpoint = 2, "checkpoint-2"
    assert card_of(trainer).data.eval_results[0].metric_value == 0.7
    trainer.state.log_history = [*rows, {"train_runtime": 75.0, "step": 4}]
    card = card_of(trainer)
    assert "| last | 4 | 0.7000 |" in card.content and "| time | 75 s |" in card.content
    assert "| best, chosen by loss during training; this model | 2 | 0.9000 |" in card.content
    assert card.data.eval_results[0].metric_value == 0.9


def test_each_of_several_evaluation_datasets_has_its_results(make_trainer):
    sets = {"easy": make_images(6, 2), "hard": make_images(9, 3)}
    trainer = make_trainer(trainer={"eval_dataset": sets}, max_steps=1)
    trainer.train()
    metrics = trainer.evaluate()
    found = {(r.dataset_name, r.metric_type): r.metric_value for r in card_of(trainer).data.eval_results}
    assert found == {
        (name, key): round(metrics[f"eval_{name}_{key}"], 6) for name in ("easy", "hard") for key in ("accuracy", "f1")
    }


def test_custom_metrics_are_on_the_card(make_trainer):
    trainer = make_trainer(trainer={"compute_metrics": lambda prediction: {"kappa": 0.25}}, max_steps=1)
    trainer.train()
    trainer.evaluate()
    card = card_of(trainer)
    assert [(r.metric_type, r.metric_value) for r in card.data.eval_results] == [("kappa", 0.25)]
    assert "| weights | step | kappa |" in card.content


# ---- From facts that were written by hand: no trainer ----


ROW = {"eval_accuracy": 0.5, "eval_f1": 0.25, "step": 10}
LOCAL = DataSource()
PUBLIC = DataSource("someone/usb-x", "a" * 40, "labels40_seed2", "labeled")
PARTS = {
    "a new model": (
        {},
        {},
        {},
        "`ViTForImageClassification`, trained by FixMatch, with 6 labeled and 24 unlabeled examples.",
    ),
    "a base model": (
        {},
        {"base_model": "google/vit"},
        {},
        "Classification`, fine-tuned from [google/vit](https://huggingface.co/google/vit) by FixMatch, with 6",
    ),
    "a dataset in words": (
        {},
        {},
        {"dataset": "shades of gray"},
        "trained on shades of gray by FixMatch, with 6 labeled",
    ),
    "a dataset on the Hub": (
        {},
        {"labeled": PUBLIC},
        {},
        "on [someone/usb-x](https://huggingface.co/datasets/someone/usb-x) by FixMatch, with 6",
    ),
    "its draw of labels": ({}, {"labeled": PUBLIC}, {}, "| draw | 40 labels, seed 2 |"),
    "an adapter": ({}, {"adapter": True}, {}, "\nAn adapter of `ViTForImageClassification`, trained by"),
    "how an adapter is used": ({}, {"adapter": True}, {}, 'pipeline("image-classification", classifier, image_proc'),
    "many classes": ({"names": tuple(f"c{i}" for i in range(23))}, {}, {}, "23 classes: c0, c1, "),
    "the rest of them": ({"names": tuple(f"c{i}" for i in range(23))}, {}, {}, "c18, c19 and 3 more."),
    "a pair of texts": (
        {"modality": "text", "columns": ("premise", "hypothesis")},
        {},
        {},
        '({"text": "A text.", "text_pair": "Another text."})',
    ),
    "the baseline": (
        {"history": (ROW,)},
        {"baseline": {"test_accuracy": 0.4, "steps": 7}},
        {},
        "| labeled examples alone (baseline), last | 7 | 0.4000 |  |",
    ),
    "curves": ({}, {"curves": True}, {}, "](curves.png)\n\n## Training"),
    "a command": ({}, {}, {"command": "hf-ssl train --x '{{ y }}'"}, "\nhf-ssl train --x '{{ y }}'\n```"),
    "evaluation examples that were trained on": (
        {"duplicates": Duplicates([Overlap("evaluation", "labeled", 12, 6, 6, {0: 3})])},
        {},
        {},
        "- Some evaluation examples were in the training data",
    ),
    "a training in progress": ({"state": {"global_step": 4}}, {}, {}, "over the pool; 4 of them so far |"),
    "a large labeled set": ({}, {}, {}, "| labeled set | too large to be hashed |"),
    "a pipe in a cell": ({"views": {"weak": "a | b"}}, {}, {}, "| weak view | a \\| b |"),
    "an algorithm without settings": (
        {"algorithm": "supervised"},
        {},
        {},
        "| algorithm | `supervised` (no settings),",
    ),
}


@pytest.mark.parametrize(("run", "model", "told", "part"), PARTS.values(), ids=PARTS)
def test_the_card_says(run, model, told, part):
    content = model_card(make_run(**run), make_model(**model), CardFacts(**told)).content
    assert part in content
    assert "{%" not in content and "None" not in content and "\n\n\n" not in content and content.endswith("```\n")


def test_the_card_has_no_section_without_content():
    content = model_card(make_run(), make_model(), CardFacts()).content
    headings = [line for line in content.splitlines() if line.startswith("#")]
    assert headings == ["# shades", "## Use", "## Training", "## Limits", "## Citations"]
    full = model_card(make_run(history=(ROW,)), make_model(), CardFacts(command="hf-ssl train")).content
    headings = [line for line in full.splitlines() if line.startswith("## ")]
    assert headings == ["## Use", "## Results", "## Training", "## Reproduce it", "## Limits", "## Citations"]


def test_what_a_person_told_wins_over_what_was_found():
    found = make_model(base_model="google/vit", labeled=PUBLIC)
    told = CardFacts(name="Shades", dataset="someone/shades", license="mit", base_model="me/vit", tags=["gray"])
    metadata = model_card(make_run(history=(ROW,)), found, told).data.to_dict()
    assert (metadata["license"], metadata["base_model"]) == ("mit", "me/vit")
    assert metadata["datasets"] == ["someone/shades", "someone/usb-x"]
    assert metadata["tags"] == ["hf-ssl", "semi-supervised", "fixmatch", "gray"]
    assert metadata["model-index"][0]["name"] == "Shades"


# ---- Several labels, and numbers ----


def run_of_kind(problem_type, names, history=()):
    """A run on labels or numbers of these names; what is measured stands in its log."""
    run = make_run("supervised", history=history)
    classes, labels = Classes(list(names), {}, named=True), np.zeros((6, len(names)), dtype=np.float32)
    data = dataclasses.replace(run.data, classes=classes, labels=labels, problem_type=problem_type)
    return dataclasses.replace(run, data=data)


def number_rows(*errors):
    return tuple({"eval_mae": mae, "eval_rmse": 2 * mae, "step": 10 * k} for k, mae in enumerate(errors, start=1))


def test_the_best_of_numbers_is_the_one_with_the_smallest_error():
    run = run_of_kind(REGRESSION, ("price",), number_rows(1234.5678, 99.5, 120.25))
    card = model_card(
        run, make_model(baseline={"test_mae": 140.0, "steps": 7, "problem_type": REGRESSION}), CardFacts()
    )
    assert "| last; this model | 30 | 120.2 | 240.5 |" in card.content
    assert "| best seen, chosen by mean absolute error on these same examples | 20 | 99.5 | 199 |" in card.content
    assert "| labeled examples alone (baseline), last | 7 | 140 |  |" in card.content
    assert [(each.metric_type, each.metric_value) for each in card.data.eval_results] == [
        ("mae", 120.25),
        ("rmse", 240.5),
    ]
    assert card.data.metrics == ["mae", "rmse"] and "regression" in card.data.tags


def test_each_of_several_numbers_has_its_row_whatever_it_is_called():
    names = ("width", "a | b")
    row = {f"eval_{metric}{of}": 0.5 for metric in ("mae", "r2") for of in ("", *(f"_{name}" for name in names))}
    card = model_card(
        run_of_kind(REGRESSION, names, ({**row, "eval_r2": float("nan"), "step": 1},)), make_model(), CardFacts()
    )
    assert (
        "| weights | step | mean absolute error | R² |" in card.content
        and "predicts 2 numbers: width, a" in card.content
    )
    assert r"| a \| b | 0.5 |  | 0.5000 |  |" in card.content
    # What could not be measured is told as such, and is no result.
    assert "| last; this model | 1 | 0.5 | - |" in card.content
    assert [each.metric_type for each in card.data.eval_results] == ["mae"]


def test_thresholds_of_labels_are_told_and_what_the_results_were_measured_with():
    row = {"eval_map": 0.75, "eval_micro_f1": 0.5, "eval_macro_f1": 0.25, "eval_subset_accuracy": 0.125, "step": 10}
    run = run_of_kind(MULTI_LABEL, ("sky", "sea"), (row,))
    card = model_card(run, make_model(label_thresholds=[0.25, 0.625]), CardFacts())
    assert "tells which of 2 labels an input has, any number of them: sky, sea." in card.content
    assert "sky 0.25, sea 0.62." in card.content and "are those with 0.5 for each label" in card.content
    found = {(each.metric_type, each.metric_name): each.metric_value for each in card.data.eval_results}
    assert found == {
        ("mean_average_precision", "Mean average precision"): 0.75,
        ("f1", "Micro F1"): 0.5,
        ("f1", "Macro F1"): 0.25,
        ("accuracy", "Subset accuracy"): 0.125,
    }
    assert card.data.metrics == ["mean_average_precision", "f1", "accuracy"]
    index = card.data.to_dict()["model-index"]
    assert eval_results_to_model_index(*model_index_to_eval_results(index)) == index


# ---- Where a run comes from ----


def test_the_hash_of_files_is_that_of_their_content_and_not_of_their_names(tmp_path):
    hashes = []
    for name, content in (("a.png", b"x"), ("b.png", b"x"), ("c.png", b"y")):
        (tmp_path / name).write_bytes(content)
        rows = datasets.Dataset.from_dict({"image": [str(tmp_path / name)]})
        hashes.append(provenance.labeled_hash(rows, ["image"], ["dark"], files=True))
    assert hashes[0] == hashes[1] != hashes[2]


def test_the_hash_of_a_labeled_set_is_that_of_its_examples_and_classes():
    images = make_images(6, 0)
    names = ["dark", "middle", "bright"] * 2

    def digest(rows, classes=names):
        return provenance.labeled_hash(rows, ["image"], classes)

    order = [3, 1, 5, 0, 4, 2]
    assert (
        digest(images) == digest(images.select(order), [names[i] for i in order]) == digest(images.flatten_indices())
    )
    others = [digest(make_images(6, 1)), digest(images, names[::-1]), digest(images.select(range(5)), names[:5])]
    assert len({digest(images), *others}) == 4
    assert digest(images.select([0] * 20_001), ["dark"] * 20_001) is None


def test_what_a_dataset_knows_of_where_it_was_loaded(tmp_path):
    make_images(3, 0).to_parquet(tmp_path / "a" / "train.parquet")
    local = datasets.load_dataset(str(tmp_path / "a"), split="train", cache_dir=str(tmp_path / "cache"))
    assert provenance.source_of(local) == provenance.DataSource(split="train")
    assert provenance.source_of(make_images(3, 0)) == provenance.DataSource()
    assert provenance.source_of([1, 2]) == provenance.DataSource()
    source = provenance.DataSource("someone/usb-x", "a" * 40, "labels40_seed2", "labeled")
    assert source.draw == "40 labels, seed 2"
    assert source.describe().startswith(
        "`someone/usb-x`, configuration `labels40_seed2`, split `labeled`, revision `aaa"
    )


OPTIONS = [
    ("", ""),
    ("--labeled a/b:c@d --max-steps 5", "--labeled a/b:c@d --max_steps 5"),
    ("--labeled DIR/data.csv --unlabeled DIR@pool", "--labeled data.csv --unlabeled DIRNAME@pool"),
    ("--algorithm_kwargs '{\"threshold\": 0.5}'", "--algorithm_kwargs '{\"threshold\": 0.5}'"),
    ("--augmentation_columns x y", "--augmentation_columns x y"),
    ("--use_cpu --baseline", "--baseline true --use_cpu true"),
    ("--output_dir o --push_to_hub --hub_model_id me/x --hub_token secret --overwrite --run_name r", ""),
    ("--learning_rate 1e-4 --lr_scheduler_type cosine", "--learning_rate 0.0001 --lr_scheduler_type cosine"),
]


@pytest.mark.parametrize(("given", "expected"), OPTIONS, ids=[given[:30] or "defaults" for given, _ in OPTIONS])
def test_the_command_has_what_differs_and_nothing_private(given, expected, tmp_path):
    import shlex

    (tmp_path / "data.csv").touch()
    given, expected = given.replace("DIR", str(tmp_path)), expected.replace("DIRNAME", tmp_path.name)
    arguments, settings = parse(["--model", "someone/model", *shlex.split(given)])
    command = repeat_command(arguments, settings)
    assert command == f"hf-ssl train --model someone/model {expected}".strip()
    # It says the same when it is given.
    again = repeat_command(*parse(shlex.split(command)[2:]))
    assert again == command


def test_the_command_of_several_processes_starts_as_many():
    arguments, settings = parse(["--model", "someone/model"])
    assert (
        repeat_command(arguments, settings, 2)
        == "torchrun --nproc_per_node 2 -m hf_ssl.cli train --model someone/model"
    )
