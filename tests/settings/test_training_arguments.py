"""What becomes of each setting of `TrainingArguments`: decided for all of them, and true."""

import importlib.util
from dataclasses import MISSING, fields
from pathlib import Path

import pytest
from transformers import TrainingArguments

from hf_ssl import SSLConfig
from hf_ssl.settings.ranges import RANGES
from hf_ssl.settings.training_arguments import KINDS, TRAINER_SETTINGS

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "benchmarks" / "arguments_page.py"
THEIRS = {field.name: field for field in fields(TrainingArguments)}
REFUSED = {name: setting.refused for name, setting in TRAINER_SETTINGS.items() if setting.refused is not None}


def test_every_setting_of_the_installed_transformers_is_decided_on():
    undecided = sorted(THEIRS.keys() - TRAINER_SETTINGS.keys())
    assert undecided == [], f"say in hf_ssl/settings/training_arguments.py what becomes of {undecided}"
    gone = TRAINER_SETTINGS.keys() - THEIRS.keys()
    assert gone <= {"gradient_checkpointing", "gradient_checkpointing_kwargs"}, "transformers 6 drops these two"


def test_kinds_are_known_and_what_is_not_the_same_is_explained():
    for name, setting in TRAINER_SETTINGS.items():
        assert setting.kind in KINDS, name
        assert setting.note or setting.kind in ("same", "not tried"), name


@pytest.mark.parametrize(("name", "value"), REFUSED.items(), ids=REFUSED)
def test_what_is_refused_is_an_error_that_names_it(name, value, tmp_path):
    word = next(iter(value)) if isinstance(value, dict) else name
    with pytest.raises(ValueError, match=f"{word} must .*got |{word} must not") as raised:
        SSLConfig(str(tmp_path), use_cpu=True, **{name: value})
    assert "\n" not in str(raised.value)


def test_what_has_another_default_is_not_called_the_same():
    ours = {field.name: field for field in fields(SSLConfig)}
    for name, field in THEIRS.items():
        mine = ours[name]
        same = mine.default == field.default or MISSING not in (mine.default_factory, field.default_factory)
        # The one that is only told where it is: the folder has Trainer's own name.
        assert same or TRAINER_SETTINGS[name].kind != "same" or name == "output_dir", name


def test_values_that_only_one_is_left_of_are_told():
    for name in RANGES.keys() & THEIRS.keys():
        allowed = RANGES[name]
        if allowed.text in ("True", "False"):
            assert TRAINER_SETTINGS[name].kind == "refused", name


def test_the_page_is_made_from_the_list():
    spec = importlib.util.spec_from_file_location("arguments_page", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PAGE.read_text(encoding="utf-8") == module.page(), "run examples/benchmarks/arguments_page.py"
