"""Every setting is published or left out on purpose: a new one fails here until that is decided."""

import dataclasses

import pytest
from transformers import TrainingArguments

from hf_ssl import SSLConfig
from hf_ssl.cli.repeat import repeat_command
from hf_ssl.cli.train_options import parse
from hf_ssl.cli.train_output import shown_settings
from hf_ssl.settings.published import PRIVATE_SETTINGS, PUBLISHED_SETTINGS
from hf_ssl.training.checkpoint_files import CONFIG, save_settings

FIELDS = [field.name for field in dataclasses.fields(SSLConfig)]
OURS = [name for name in FIELDS if name not in {field.name for field in dataclasses.fields(TrainingArguments)}]


@pytest.mark.parametrize("name", FIELDS)
def test_every_setting_is_decided_on(name):
    where = [name in PUBLISHED_SETTINGS, name in PRIVATE_SETTINGS]
    assert sum(where) == 1, f"put {name} into one of the lists of hf_ssl/settings/published.py"


def test_all_settings_of_ours_are_published():
    assert set(OURS) <= PUBLISHED_SETTINGS


@pytest.mark.parametrize("part", ["dir", "token", "hub", "trackio", "project", "run_name", "path"])
def test_no_published_setting_is_named_like_a_secret(part):
    known = {
        "include_num_input_tokens_seen",
        "average_tokens_across_devices",
        "token_delete_ratio",
        "token_swap_ratio",
    }
    assert {name for name in PUBLISHED_SETTINGS if part in name} <= {*known, "token_mask_ratio"}


SECRET = {
    "project": "acquisition of x",
    "trackio_space_id": "me/secret-space",
    "trackio_bucket_id": "me/secret-bucket",
    "trackio_static_space_id": "me/secret-page",
    "hub_model_id": "me/secret-model",
    "hub_token": "secret-token",
    "run_name": "secret-run",
}


def test_nothing_private_is_in_what_is_written(tmp_path):
    settings = {"output_dir": str(tmp_path / "out"), "learning_rate": 1e-3, "max_steps": 9, **SECRET}
    config = SSLConfig(**settings)
    save_settings(str(tmp_path), config)
    options = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    told = [
        (tmp_path / CONFIG).read_text(),
        str(shown_settings(settings, config)),
        repeat_command(*parse(["--model", "someone/model", *options])),
    ]
    for text in told:
        assert "secret" not in text and "acquisition" not in text and str(tmp_path) not in text
        assert "learning_rate" in text and "0.001" in text
