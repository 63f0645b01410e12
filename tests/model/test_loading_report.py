"""A new head is expected and not reported; weights that are lost below it are."""

import json
import logging

import pytest
from safetensors.torch import load_file, save_file

from hf_ssl.data.columns import inspect_data
from hf_ssl.model.loading import load_classifier

from tests.helpers.command_data import save_model
from tests.helpers.tiny_tasks import make_texts


@pytest.fixture
def folder(tmp_path):
    return save_model("text", tmp_path), tmp_path / "model.safetensors"


def load(folder, caplog, classes=3):
    data = inspect_data(make_texts(12, 0))
    caplog.clear()
    # Loggers of transformers keep their records from the root, at which pytest listens.
    library = logging.getLogger("transformers")
    library.addHandler(caplog.handler)
    try:
        load_classifier(folder, data)
    finally:
        library.removeHandler(caplog.handler)
    return [record.getMessage() for record in caplog.records]


def test_a_head_of_another_size_is_not_reported_as_a_table(folder, caplog):
    name, weights = folder
    tensors = load_file(weights)
    config = json.loads((weights.parent / "config.json").read_text())
    names = {str(index): f"name {index}" for index in range(5)}
    config |= {"id2label": names, "label2id": {value: int(key) for key, value in names.items()}}
    (weights.parent / "config.json").write_text(json.dumps(config))
    for key in ("classifier.weight", "classifier.bias"):
        tensors[key] = tensors[key].repeat_interleave(2, dim=0)[:5].contiguous()
    save_file(tensors, weights, metadata={"format": "pt"})
    said = load(name, caplog)
    assert not any("LOAD REPORT" in line or "num_labels" in line for line in said)
    assert len(said) == 1 and "new head" in said[0]


LOST = {
    "missing": (lambda t: t.pop("bert.encoder.layer.0.output.dense.weight"), "are not in its files"),
    "another shape": (
        lambda t: t.update({"bert.encoder.layer.0.output.dense.weight": t["classifier.weight"].clone()}),
        "have another shape in its files",
    ),
    "unused": (lambda t: t.update({"bert.encoder.layer.9.x": t["classifier.bias"].clone()}), "are not used"),
}


@pytest.mark.parametrize(("spoil", "what"), LOST.values(), ids=LOST)
def test_weights_that_are_lost_below_the_head_are_named_in_one_line(folder, caplog, spoil, what):
    name, weights = folder
    tensors = load_file(weights)
    spoil(tensors)
    save_file(tensors, weights, metadata={"format": "pt"})
    said = [line for line in load(name, caplog) if "below the head" in line]
    assert len(said) == 1 and what in said[0] and "bert.encoder.layer." in said[0] and "\n" not in said[0]
