"""Model folders that are damaged, hostile or claim too much: one line that names the file, and no memory for it."""

import json
import pickle
import shutil
import struct
import warnings
from pathlib import Path
from types import SimpleNamespace

import datasets
import pytest
import torch
from transformers import AutoConfig

from hf_ssl.data.columns import inspect_data
from hf_ssl.model.folder import check_folder, check_size
from hf_ssl.model.loading import load_classifier, load_config, load_processor

from tests.helpers.command_data import save_model
from tests.helpers.hostile_files import at_once, nested, pipe, safetensors_claiming


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A tiny text classifier and its tokenizer."""
    return Path(save_model("text", tmp_path_factory.mktemp("model") / "whole"))


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "model")


def load(folder: Path) -> None:
    """As a training does."""
    load_processor(str(folder), "text")
    labeled = datasets.Dataset.from_dict({"text": ["one", "two", "three"], "label": ["a", "b", "c"]})
    load_classifier(str(folder), inspect_data(labeled))


class Runs:
    """A pickle of it would print when it is loaded."""

    def __reduce__(self):
        return print, ("this must not be run",)


CONFIGS = {
    "a list": ("[1, 2]", "config.json must hold an object, got a list"),
    "not JSON": ("{nothing", r"config.json must be JSON, got .* at line 1, column 2"),
    "nested": (nested(100_000), "config.json must be nested at most 100 deep, got 100,000"),
    "empty": ("", "config.json must be JSON"),
    "of another encoding": (b'{"a": "\xe9"}', "config.json must be UTF-8 text"),
    "no type": ("{}", "model"),
    "a type that is a list": ('{"model_type": [1]}', "model"),
}


@pytest.mark.parametrize(("content", "message"), CONFIGS.values(), ids=CONFIGS)
def test_a_damaged_configuration_is_named(content, message, folder):
    (folder / "config.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    with at_once(), pytest.raises(ValueError, match=message) as error:
        load_config(str(folder))
    assert str(folder) in str(error.value) and "\n" not in str(error.value)


CLAIMS = {
    "layers": (
        {"num_hidden_layers": 10**9},
        "at most 2,000 layers, got num_hidden_layers=1,000,000,000; is it damaged",
    ),
    "vocabulary": (
        {"vocab_size": 10**10},
        r"config.json must describe at most [\d,]+ weights, .* got 160,000,002,595; is",
    ),
    "width": ({"hidden_size": 2**20, "num_attention_heads": 2}, r"must describe at most [\d,]+ weights"),
    "positions": ({"max_position_embeddings": 10**10}, r"must describe at most [\d,]+ weights"),
}


@pytest.mark.parametrize(("changes", "message"), CLAIMS.values(), ids=CLAIMS)
def test_a_configuration_cannot_claim_more_weights_than_the_files_hold(changes, message, folder):
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**content, **changes}))
    with at_once(), pytest.raises(ValueError, match=message):
        load(folder)


def test_a_new_head_and_new_weights_are_no_claim(folder, whole):
    check_size(str(whole), AutoConfig.from_pretrained(whole, num_labels=100_000))
    load(folder)
    # Without weights nothing is compared: the Hub, or a folder to be filled.
    (folder / "model.safetensors").unlink()
    check_size(str(folder), AutoConfig.from_pretrained(folder, vocab_size=10**10))


WEIGHTS = {
    "cut off": lambda data: data[:-100],
    "cut off in the header": lambda data: data[:50],
    "empty": lambda data: b"",
    "noise": lambda data: bytes(range(256)) * 4,
    "a header of 2^60 bytes": lambda data: safetensors_claiming(data[8:200], length=2**60),
    "a tensor beyond the end": lambda data: safetensors_claiming(
        {"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}, bytes(16)
    ),
    "a nested header": lambda data: safetensors_claiming(nested(100_000).encode()),
}


@pytest.mark.parametrize("damage", WEIGHTS.values(), ids=WEIGHTS)
def test_damaged_weights_are_named(damage, folder):
    path = folder / "model.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    with at_once(), pytest.raises(ValueError, match=rf"^{folder} cannot be loaded: {path} is damaged \(") as error:
        load(folder)
    assert "\n" not in str(error.value) and len(str(error.value)) < 900


def as_pickle(folder: Path, content: object) -> Path:
    (folder / "model.safetensors").unlink()
    path = folder / "pytorch_model.bin"
    torch.save(content, path)
    return path


def test_pickled_weights_are_read_as_weights_and_nothing_else(folder, whole, capfd):
    from safetensors.torch import load_file

    as_pickle(folder, load_file(whole / "model.safetensors"))
    load(folder)
    path = folder / "pytorch_model.bin"
    cut = path.read_bytes()[:-500]
    for content in (pickle.dumps(Runs()), cut, b"", b"nothing"):
        path.write_bytes(content)
        with (
            warnings.catch_warnings(),
            pytest.raises(ValueError, match=rf"{path} is damaged, or is not weights alone"),
        ):
            warnings.simplefilter("ignore")
            load(folder)
    torch.save({"a": Runs()}, path)
    with pytest.raises(
        ValueError, match=rf"{path} is damaged, or is not weights alone, .* save the model as model\.saf"
    ):
        load(folder)
    assert "this must not be run" not in "".join(capfd.readouterr())


TOKENIZERS = {
    "not JSON": ("tokenizer.json", lambda text: text.replace(",", ";", 3), "tokenizer.json must be JSON"),
    "nested": ("tokenizer.json", lambda text: nested(100_000), "tokenizer.json must be nested at most 100 deep"),
    "another object": ("tokenizer.json", lambda text: '{"version": 3}', "tokenizer"),
    "a list": ("tokenizer.json", lambda text: "[1]", "tokenizer"),
    "settings nested": ("tokenizer_config.json", lambda text: nested(100_000), "tokenizer_config.json must be nested"),
    "settings cut off": ("tokenizer_config.json", lambda text: text[:20], "tokenizer_config.json must be JSON"),
}


@pytest.mark.parametrize(("name", "damage", "message"), TOKENIZERS.values(), ids=TOKENIZERS)
def test_a_damaged_tokenizer_is_named(name, damage, message, folder):
    (folder / name).write_text(damage((folder / name).read_text()))
    with at_once(), pytest.raises(ValueError, match=message) as error:
        load_processor(str(folder), "text")
    assert str(folder) in str(error.value) and len(str(error.value)) < 900


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "README.md"])
def test_pipes_in_a_model_folder_are_never_opened(name, folder):
    (folder / name).unlink(missing_ok=True)
    pipe(folder / name)
    with at_once(), pytest.raises(ValueError, match=rf"{name} must be a file, got a named pipe; remove it"):
        load_config(str(folder))


def test_an_adapter_s_header_is_no_claim_of_size(tmp_path):
    """A folder without config.json is left to PEFT."""
    (tmp_path / "adapter_model.safetensors").write_bytes(struct.pack("<Q", 2) + b"{}")
    check_size(str(tmp_path), SimpleNamespace(to_dict=dict))


@pytest.mark.parametrize("old", [True, False], ids=["as torch wrote before archives", "an archive"])
def test_weights_of_torch_are_taken_and_what_only_looks_like_them_is_refused_unread(folder, old):
    (folder / "model.safetensors").unlink()
    path = folder / "pytorch_model.bin"
    torch.save({"weight": torch.ones(2)}, path, _use_new_zipfile_serialization=not old)
    check_folder(str(folder))
    # The first bytes say that 4 GB of text follow.
    path.write_bytes(b"\x80\x02X\xff\xff\xff\xff" + path.read_bytes()[: -10 if not old else None])
    with pytest.raises(ValueError, match=r"pytorch_model.bin is damaged, or is not weights alone"):
        check_folder(str(folder))
