"""The scripts run, and the differences that guides/from_trainer.md shows give those with transformers' own Trainer."""

import importlib.util
import json
import re
from pathlib import Path

import pytest
from transformers import Trainer, pipeline

from hf_ssl import SSLTrainer

from tests.helpers.command_data import save_model
from tests.helpers.tiny_tasks import TASKS

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SCRIPTS = EXAMPLES / "scripts"
PAGE = (EXAMPLES / "guides" / "from_trainer.md").read_text(encoding="utf-8")
MODALITIES = ["image", "text", "audio"]


def load(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def arguments(tmp_path):
    """A function that gives a script's arguments: a tiny model and dataset on disk, two steps."""

    def make(modality, *more):
        folder = tmp_path / "data"
        for name, count, seed in (("train", 24, 0), ("test", 6, 1)):
            path = folder / f"{name}.parquet"
            path.parent.mkdir(exist_ok=True)
            TASKS[modality][0](count, seed).to_parquet(path)
        model = save_model(modality, tmp_path / "model")
        shared = ["--model_name_or_path", model, "--dataset_name", str(folder), "--labels_per_class", "2"]
        shared += ["--output_dir", str(tmp_path / "out"), "--max_steps", "2", "--per_device_train_batch_size", "2"]
        return [*shared, "--use_cpu", "--disable_tqdm", "true", "--report_to", "none", "--save_strategy", "no", *more]

    return make


@pytest.mark.parametrize("modality", MODALITIES)
def test_the_script_trains_evaluates_and_saves(modality, arguments, tmp_path):
    script = load(SCRIPTS / f"run_{modality}_classification.py")
    metrics = script.main(arguments(modality, "--algorithm", "softmatch", "--unlabeled_batch_ratio", "2"))
    assert (
        metrics["eval_accuracy"] == json.loads((tmp_path / "out" / "eval_results.json").read_text())["eval_accuracy"]
    )
    classifier = pipeline(f"{modality}-classification", str(tmp_path / "out"), device="cpu")
    names = TASKS[modality][0](3, 0).features["label"].names
    assert list(classifier.model.config.id2label.values()) == names
    assert "softmatch" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize("modality", MODALITIES)
def test_the_script_reads_its_options_from_a_json_file(modality, arguments, tmp_path, monkeypatch):
    script = load(SCRIPTS / f"run_{modality}_classification.py")
    model, data, config = script.HfArgumentParser(
        (script.ModelArguments, script.DataArguments, script.SSLConfig)
    ).parse_args_into_dataclasses(arguments(modality))
    recipe = {**vars(model), **vars(data), "output_dir": config.output_dir, "max_steps": 2, "use_cpu": True}
    recipe |= {"per_device_train_batch_size": 2, "report_to": "none", "save_strategy": "no", "algorithm": "adamatch"}
    (tmp_path / "recipe.json").write_text(json.dumps(recipe), encoding="utf-8")

    def stop(trainer, **_):
        raise InterruptedError(f"{trainer.algorithm_name} for {trainer.args.max_steps} steps")

    monkeypatch.setattr(SSLTrainer, "train", stop)
    with pytest.raises(InterruptedError, match="adamatch for 2 steps"):
        script.main([str(tmp_path / "recipe.json")])


def differences(modality: str) -> str:
    """The diff block of a script in guides/from_trainer.md."""
    section = PAGE.split(f"## run_{modality}_classification.py")[1].split("\n## ")[0]
    (block,) = re.findall(r"```diff\n(.*?)```", section, flags=re.DOTALL)
    return block


def undone(source: str, diff: str) -> str:
    """The source before the changes of a unified diff; each of its parts must be found once."""
    for part in diff.split("@@\n")[1:]:
        lines = part.removesuffix("\n").split("\n")
        after = "\n".join(line[1:] for line in lines if not line.startswith("-"))
        before = "\n".join(line[1:] for line in lines if not line.startswith("+"))
        assert source.count(after) == 1, after
        source = source.replace(after, before)
    return source


@pytest.mark.parametrize("modality", MODALITIES)
def test_without_the_differences_it_is_a_script_of_transformers(modality, arguments, tmp_path, monkeypatch):
    path = SCRIPTS / f"run_{modality}_classification.py"
    supervised = tmp_path / path.name
    supervised.write_text(undone(path.read_text(encoding="utf-8"), differences(modality)), encoding="utf-8")
    assert "hf_ssl" not in supervised.read_text(encoding="utf-8").split('"""')[2]
    monkeypatch.setattr(SSLTrainer, "train", None)
    script = load(supervised)
    assert script.Trainer is Trainer
    assert 0 <= script.main(arguments(modality))["eval_accuracy"] <= 1


def test_a_custom_algorithm_is_trained_and_kept(tmp_path, capsys):
    script = load(SCRIPTS / "custom_algorithm.py")
    options = ["--output_dir", str(tmp_path / "out"), "--max_steps", "3", "--per_device_train_batch_size", "4"]
    options += ["--algorithm_kwargs", '{"share": 0.5}', "--use_cpu", "--disable_tqdm", "true", "--report_to", "none"]
    results = script.main(options)
    assert list(results) == ["supervised", "QuantileMatch"]
    assert "threshold at the end: 0." in capsys.readouterr().out
    assert (tmp_path / "out" / "model.safetensors").is_file()


@pytest.mark.parametrize("algorithm", ["adamatch", "mean_teacher", "comatch"])
def test_the_plain_loop_runs_algorithms_of_every_kind(algorithm, capsys):
    """Thresholds, a teacher, heads."""
    script = load(SCRIPTS / "plain_pytorch_loop.py")
    results = script.main(["--algorithm", algorithm, "--steps", "3"])
    assert set(results) == {"supervised", algorithm}
    assert "unsupervised" in capsys.readouterr().out
