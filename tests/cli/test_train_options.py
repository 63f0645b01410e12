"""The options of `hf-ssl train`: which there are, their defaults, recipes, and the command line that repeats a run."""

import dataclasses
import json
import shlex

import pytest
import yaml

from hf_ssl import SSLConfig
from hf_ssl.cli.repeat import repeat_command
from hf_ssl.cli.train_options import _ELSEWHERE, given_options, make_parser, near_names, parse


def write_recipe(path, content):
    path.write_text(json.dumps(content) if path.suffix == ".json" else yaml.safe_dump(content))
    return str(path)


SEEDS = [
    ("", None, 42),
    ("--task ag_news --num-labeled 40", None, 0),
    ("--task ag_news --num-labeled 40 --seed 2", None, 2),
    ("--task ag_news --num-labeled 40", {"seed": 1}, 1),
    ("--seed 0", {"seed": 1}, 0),
    ("", {"task": "ag_news", "num_labeled": 40}, 0),
]


@pytest.mark.parametrize(
    ("options", "recipe", "seed"), SEEDS, ids=[f"{options} {recipe}" for options, recipe, _ in SEEDS]
)
def test_the_seed_of_a_task_is_that_of_its_first_draw(options, recipe, seed, tmp_path):
    words = ["--model", "m", *options.split()]
    if recipe:
        words += ["--config", write_recipe(tmp_path / "recipe.yaml", recipe)]
    arguments, settings = parse(words)
    assert settings["seed"] == seed
    # The command on the card says the same.
    assert parse(shlex.split(repeat_command(arguments, settings))[2:])[1]["seed"] == seed


@pytest.mark.parametrize("suffix", [".yaml", ".json"])
def test_the_command_line_wins_over_the_recipe(tmp_path, suffix):
    content = {
        "model": "m",
        "algorithm": "softmatch",
        "max-steps": 7,
        "learning_rate": 1e-4,
        "algorithm_kwargs": {"n_sigma": 3},
    }
    recipe = write_recipe(tmp_path / f"recipe{suffix}", {**content, "fp16": True})
    arguments, settings = parse(["--config", recipe, "--max_steps", "9"])
    assert arguments.model == "m"
    assert (settings["algorithm"], settings["max_steps"], settings["learning_rate"]) == ("softmatch", 9, 1e-4)
    assert settings["algorithm_kwargs"] == {"n_sigma": 3} and settings["fp16"] is True


def test_a_number_that_yaml_reads_as_text_is_a_number(tmp_path):
    (tmp_path / "r.yaml").write_text("model: m\nlearning_rate: 1e-4\nmax_steps: 100.0\n")
    _, settings = parse(["--config", str(tmp_path / "r.yaml")])
    assert settings["learning_rate"] == 1e-4 and settings["max_steps"] == 100


@pytest.mark.parametrize("written", ["no", "false", "'no'"])
def test_a_strategy_of_no_is_not_the_false_that_yaml_reads(tmp_path, written):
    lines = ["model: m", *(f"{name}_strategy: {written}" for name in ("eval", "save", "logging")), "bf16: no"]
    (tmp_path / "r.yaml").write_text("\n".join(lines))
    _, settings = parse(["--config", str(tmp_path / "r.yaml")])
    assert [settings[f"{name}_strategy"] for name in ("eval", "save", "logging")] == ["no"] * 3
    assert settings["bf16"] is False


def test_every_setting_is_an_option_with_help_and_ours_come_first():
    parser = make_parser()
    known = {option for action in parser._actions for option in action.option_strings}
    assert [f.name for f in dataclasses.fields(SSLConfig) if f.init and f"--{f.name}" not in known] == []
    text = parser.format_help()
    assert text.index("--labeled") < text.index("--algorithm") < text.index("--learning-rate")


def test_help_fits_a_terminal_and_shows_no_option_twice(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = make_parser().format_help().splitlines()
    assert max(map(len, lines)) <= 80
    shown = [line.split()[0] for line in lines if line.startswith("  --")]
    assert len(shown) == len(set(shown)) and not any("_" in option for option in shown)
    text = " ".join(" ".join(lines).split())
    assert "(default: None)" not in text and "%%" not in text and "adamw_torch_fused" in text


def test_help_lists_what_people_need_first_and_where_the_rest_is(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "100")
    shown = {}
    for option in ("--help", "--help-all"):
        with pytest.raises(SystemExit) as stopped:
            parse([option])
        assert stopped.value.code == 0
        lines = capsys.readouterr().out.splitlines()
        shown[option] = [line.split()[0] for line in lines if line.startswith("  -")], len(lines)
    first, every = shown["--help"][0], shown["--help-all"][0]
    for name in ("--model", "--labeled", "--unlabeled", "--test", "--algorithm", "--output-dir", "--max-steps"):
        assert name in first
    assert set(first) < set(every) and len(every) > 100
    assert shown["--help"][1] < 90


# What a person types who comes from another program -> what it is called here.
ELSEWHERE = {
    "lr": "learning-rate",
    "batch_size": "per-device-train-batch-size",
    "epochs": "num-train-epochs",
    "steps": "max-steps",
    "wd": "weight-decay",
    "out": "output-dir",
    "train": "labeled",
    "unlabelled": "unlabeled",
    "val": "test",
    "algo": "algorithm",
    "model_name_or_path": "model",
    "num_workers": "dataloader-num-workers",
    "threshold": "algorithm-kwargs",
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_names_of_other_programs_are_answered_with_ours(name):
    with pytest.raises(ValueError) as caught:
        parse(["--model", "m", f"--{name}", "3"])
    assert str(caught.value) == f"unknown option '--{name}'; did you mean --{ELSEWHERE[name]}?"


def test_names_of_other_programs_are_answered_with_options_that_exist():
    known = {option.replace("-", "_").strip("_") for option in make_parser()._option_string_actions}
    assert set(_ELSEWHERE.values()) <= known and not set(_ELSEWHERE) & known


# case: (what was typed, the name in the table)
SPELLINGS = {
    "FixMatch": "fixmatch",
    "flex_match": "flexmatch",
    "Free-Match": "freematch",
    "mean-teacher": "mean_teacher",
    "MeanTeacher": "mean_teacher",
    "PI_MODEL": "pi_model",
    "Auto": "auto",
    " supervised": "supervised",
}


@pytest.mark.parametrize(("typed", "name"), SPELLINGS.items())
def test_an_algorithm_is_known_in_any_spelling(typed, name):
    assert parse(["--model", "m", "--algorithm", typed])[1]["algorithm"] == name


@pytest.mark.parametrize("typed", ["fixmach", "auto-match", ""])
def test_an_unknown_algorithm_is_answered_with_the_known_ones(typed):
    with pytest.raises(ValueError, match=rf"^unknown algorithm '{typed}'; the known ones are auto, .*fixmatch"):
        parse(["--model", "m", "--algorithm", typed])


def test_what_is_on_can_be_switched_off_in_both_ways():
    for option in (["--no-horizontal-flip"], ["--horizontal-flip", "false"]):
        assert parse(["--model", "m", *option])[1]["horizontal_flip"] is False


NEAR = [
    ("--max_stps", ["--max-steps", "--model"], "did you mean --max-steps?"),
    ("learning_rat", ["learning_rate", "model"], "did you mean learning_rate?"),
    ("zzz", ["learning_rate"], "`hf-ssl train --help-all` lists them all"),
]


@pytest.mark.parametrize(("name", "known", "end"), NEAR)
def test_an_unknown_name_is_answered_with_near_ones(name, known, end):
    message = near_names(name, known, "option")
    assert message.startswith(f"unknown option {name!r}; ") and message.endswith(end)


def test_defaults_of_the_command_are_not_what_a_user_chose(tmp_path):
    assert given_options(["--model", "m"]) == {"model"}
    recipe = write_recipe(tmp_path / "recipe.yaml", {"model": "m", "eval-steps": 0.5})
    assert given_options(["--config", recipe, "--fp16"]) == {"config", "model", "eval_steps", "fp16"}


@pytest.mark.parametrize("algorithm", ["auto", "features"])
def test_algorithms_that_fit_a_head_take_no_other_start(algorithm):
    words = ["--model", "m", "--labeled", "l.csv", "--algorithm", algorithm, "--start"]
    assert parse([*words, "random"])[1]["algorithm"] == algorithm
    with pytest.raises(ValueError, match=f"^--start must be left out for --algorithm {algorithm}, .* got teacher; "):
        parse([*words, "teacher", "--teacher-column", "teacher"])
