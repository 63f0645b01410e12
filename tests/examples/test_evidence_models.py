"""The models of the evidence, the folders that its grids name, and what is held out when settings are chosen."""

import json
import math

import datasets
import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForAudioClassification,
    AutoModelForSequenceClassification,
    MobileNetV1Config,
    MobileNetV1ForImageClassification,
    MobileNetV1ImageProcessor,
)

from hf_ssl.benchmark.grid import load_grid

from tests.helpers.tiny_tasks import TASKS as TINY
from tests.helpers.tiny_tasks import text_model, tokenizer
from tests.helpers.tiny_teachers import save_teacher


@pytest.fixture
def audio(benchmark_scripts):
    """The module of the audio encoder."""
    import evidence_audio

    return evidence_audio


@pytest.fixture
def tasks(benchmark_scripts):
    """The module of the data."""
    import evidence_tasks

    return evidence_tasks


@pytest.fixture
def places(tmp_path, audio, tasks, monkeypatch):
    """Data and models of a few examples and weights."""
    monkeypatch.setattr(audio.SpeechEmbeddingClassifier, "from_onnx", classmethod(untrained))
    for name, modality in (("images", "image"), ("text", "text"), ("audio", "audio")):
        folder = tmp_path / "data" / tasks.TASKS[name].folder
        folder.mkdir(parents=True)
        for split, count, seed in (("train", 60, 0), ("test", 12, 1)):
            data = TINY[modality][0](count, seed)
            if name == "audio":
                data = data.add_column("speaker", [str(i // 3) for i in range(count)])
            data.to_parquet(folder / f"{split}.parquet")
    torch.manual_seed(0)
    config = MobileNetV1Config(depth_multiplier=0.25, min_depth=4, image_size=32)
    MobileNetV1ForImageClassification(config).save_pretrained(tmp_path / "image")
    MobileNetV1ImageProcessor().save_pretrained(tmp_path / "image")
    text_model().save_pretrained(tmp_path / "text")
    tokenizer().save_pretrained(tmp_path / "text")
    return tasks.Places(tmp_path / "data", str(tmp_path / "image"), str(tmp_path / "text"))


def untrained(cls, folder=None, **settings):
    return cls(cls.config_class(**settings))


def test_validation_holds_out_whole_speakers_and_leaves_the_test_set_alone(tasks, places):
    task = tasks.TASKS["audio"]
    data = tasks.load(task, places)
    pool, held = tasks.hold_out(data["train"], "speaker", size=20)
    assert len(pool) + len(held) == 60
    assert 20 <= len(held) <= 24
    assert not set(pool["speaker"]) & set(held["speaker"])


@pytest.fixture
def folders(places, tmp_path, monkeypatch):
    """What `evidence_folders.py` writes, in the current folder."""
    import evidence_folders

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(evidence_folders, "POOL", {"images": 40})
    text = {"frozen_layers": 1}
    changed = {
        name: (task, text if own.get("frozen_layers") else own)
        for name, (task, own) in evidence_folders.FOLDERS.items()
    }
    monkeypatch.setattr(evidence_folders, "FOLDERS", changed)
    options = {"data": places.data, "image-model": places.image_model, "text-model": places.text_model}
    assert evidence_folders.main([word for name, value in options.items() for word in (f"--{name}", str(value))]) == 0
    return tmp_path / "evidence"


def test_frozen_layers_stay_frozen_in_a_model_that_is_loaded_from_its_folder(folders):
    """transformers replaces parameters while it loads weights, and the new ones learn."""
    automatic = {
        "minilm-mean": AutoModelForSequenceClassification,
        "speech-embedding": AutoModelForAudioClassification,
    }
    for name, kind in automatic.items():
        whole, upper = (kind.from_pretrained(folders / f"{name}{part}") for part in ("", "-upper"))
        learning = {key for key, value in upper.named_parameters() if value.requires_grad}
        assert all(value.requires_grad for value in whole.parameters())
        assert "classifier.weight" in learning and len(learning) < len(list(upper.parameters()))
        loaded, found = kind.from_pretrained(folders / f"{name}-upper", output_loading_info=True)
        assert not found["missing_keys"]
        assert {key for key, value in loaded.named_parameters() if value.requires_grad} == learning


def test_the_grids_of_the_evidence_train_on_the_written_folders(folders, benchmark_scripts, tmp_path):
    root = benchmark_scripts.parents[1]
    for name, number in (("evidence", 360), ("evidence_upper", 108)):
        text = (benchmark_scripts / f"{name}.yaml").read_text(encoding="utf-8")
        (tmp_path / "grid.yaml").write_text(text.replace("examples/", f"{root}/examples/"), encoding="utf-8")
        grid = load_grid(tmp_path / "grid.yaml")
        assert len(grid.cells) == number
        assert {len(name) for cell in grid.cells for name in cell.settings["task"]["data"].values()} == {
            16 + 6,
            16 + 5,
        }


def test_teachers_give_their_opinion_of_every_example_of_the_pool(folders, benchmark_scripts, tmp_path, monkeypatch):
    import evidence_teachers

    monkeypatch.setattr(evidence_teachers, "WORDS", ("red,green,blue", "red,green,sea"))
    monkeypatch.setattr(evidence_teachers, "OUTSIDE", {"cifar10": ("mobilenetv1-025", {"image_size": 32}, 6)})
    monkeypatch.setattr(evidence_teachers, "OUTSIDE_LABELS", 9)
    monkeypatch.setattr(evidence_teachers, "TEXT_LABELS", 39)
    teacher = save_teacher("writer", tmp_path / "writer")
    results = tmp_path / "results.json"
    assert evidence_teachers.main(["ask", "--writer", teacher, "--device", "cpu"]) == 0
    assert evidence_teachers.main(["write", "--results", str(results)]) == 0
    rows = {row["task"]: row for row in json.loads(results.read_text(encoding="utf-8"))["runs"]}
    assert rows["ag_news"]["teacher"] == "writer" and rows["ag_news"]["words"] in ("red,green,blue", "red,green,sea")
    compared = json.loads((folders / "taught" / "choice.json").read_text(encoding="utf-8"))["compared"]
    assert len(compared) == 6 and 0 < max(compared) <= 39
    for name in ("ag_news", "cifar10"):
        plain, taught = (datasets.load_dataset(str(folders / each)) for each in (name, f"{name}_taught"))
        assert taught["train"]["label"] == plain["train"]["label"] and len(taught["test"]) == len(plain["test"]) == 12
        opinions = np.array(taught["train"]["teacher"])
        assert opinions.shape == (len(plain["train"]), 3)
        np.testing.assert_allclose(opinions.sum(axis=1), 1, atol=2e-4)
    # What is written of the test set is what the command wrote of it.
    lines = (folders / "taught" / "test.jsonl").read_text(encoding="utf-8").splitlines()
    answers = np.array([list(json.loads(line)["teacher"].values()) for line in lines]).argmax(axis=1)
    truth = datasets.load_dataset(str(folders / "ag_news"))["test"]["label"]
    assert rows["ag_news"]["test_accuracy"] == round(float((answers == np.array(truth)).mean()), 5)

    text = (benchmark_scripts / "evidence_teachers.yaml").read_text(encoding="utf-8")
    # The recordings had no teacher here.
    text = text[: text.index("  - task: speech_commands")] + text[text.index("seeds:") :]
    root = benchmark_scripts.parents[1]
    (tmp_path / "grid.yaml").write_text(text.replace("examples/", f"{root}/examples/"), encoding="utf-8")
    assert len(load_grid(tmp_path / "grid.yaml").cells) == 24


FRAMES, HOP, FFT = 76, 160, 512


def test_the_audio_encoder_makes_an_embedding_of_775_milliseconds_and_one_for_each_80_more(audio):
    torch.manual_seed(0)
    model = audio.SpeechEmbeddingClassifier(audio.SpeechEmbeddingConfig(num_labels=3)).eval()
    model.mel_filters.uniform_()
    waves = torch.rand(2, 16_000) - 0.5
    with torch.no_grad():
        embeddings = model.embed(waves)
        assert embeddings.shape == (2, 96, 3)
        # The second embedding is that of the sound 80 ms later, cut to the frames that it needs.
        later = waves[:, 8 * HOP : (8 + FRAMES - 1) * HOP + FFT]
        # The spectrum's floor follows the loudest moment, which white noise hardly reaches: 80 dB below.
        torch.testing.assert_close(model.embed(later)[:, :, 0], embeddings[:, :, 1], rtol=1e-4, atol=1e-4)
        assert model(waves[:, :4000]).logits.shape == (2, 3), "short sounds are padded"


def test_the_audio_encoder_measures_tones_in_decibels(audio):
    model = audio.SpeechEmbeddingClassifier(audio.SpeechEmbeddingConfig(num_labels=2))
    model.mel_filters.zero_()
    # One filter hears 1,000 Hz, the 32nd of the 257 frequencies; another 2,000 Hz.
    model.mel_filters[32, 0] = model.mel_filters[64, 1] = 1
    time = torch.arange(16_000) / 16_000
    loud, soft = (amplitude * torch.sin(2 * torch.pi * 1000 * time)[None] for amplitude in (0.5, 0.05))
    found = [model.log_mel(wave) for wave in (loud, soft)]
    # A sine of amplitude a under a Hann window of 400 samples (sum 200) has the power (32767 a 200 / 2)^2.
    assert found[0][0, :, 0].mean().item() == pytest.approx(math.log10((32767 * 0.5 * 100) ** 2) + 2, abs=1e-3)
    assert (found[0] - found[1])[0, :, 0].mean().item() == pytest.approx(2, abs=1e-3), "a tenth is 20 dB, 2 in tens"
    assert (found[0][0, :, 0] - found[0][0, :, 1]).mean().item() == pytest.approx(8, abs=1e-3), (
        "the floor is 80 dB lower"
    )


def test_the_audio_encoder_is_read_from_its_onnx_files(audio, tmp_path):
    onnx = pytest.importorskip("onnx")
    model = audio.SpeechEmbeddingClassifier(audio.SpeechEmbeddingConfig(num_labels=3))
    state = {
        name: torch.rand_like(value) for name, value in model.encoder.state_dict().items() if "tracked" not in name
    }

    def save(name, tensors, nodes):
        weights = [onnx.numpy_helper.from_array(value.numpy(), key) for key, value in tensors.items()]
        graph = onnx.helper.make_graph(nodes, "graph", [], [], initializer=weights)
        (tmp_path / f"{name}.onnx").write_bytes(onnx.helper.make_model(graph).SerializeToString())

    parts = {}
    for name in state:
        parts.setdefault(name.split(".")[0], []).append(name)
    kinds = {name: "Conv" if state[f"{name}.weight"].dim() == 4 else "BatchNormalization" for name in parts}
    save("embedding_model", state, [onnx.helper.make_node(kinds[name], ["x", *parts[name]], ["x"]) for name in parts])
    filters = torch.rand(257, 32)
    save("melspectrogram", {"1.melW": filters}, [])
    read = audio.SpeechEmbeddingClassifier.from_onnx(tmp_path, num_labels=3)
    for name, value in state.items():
        torch.testing.assert_close(read.encoder.state_dict()[name], value)
    torch.testing.assert_close(read.mel_filters, filters)


def test_freezing_leaves_whole_blocks_of_the_audio_encoder_and_its_statistics(audio):
    model = audio.SpeechEmbeddingClassifier(audio.SpeechEmbeddingConfig(num_labels=3))
    counts = []
    for blocks in range(6):
        model.requires_grad_(True)
        model.freeze(blocks)
        convolutions = [layer for layer in model.encoder if isinstance(layer, torch.nn.Conv2d)]
        counts.append(sum(not layer.weight.requires_grad for layer in convolutions))
    assert counts == [0, 3, 7, 11, 15, 19]
    before = {name: value.clone() for name, value in model.named_buffers()}
    model.train()(torch.rand(2, 16_000))
    assert all(torch.equal(value, before[name]) for name, value in model.named_buffers())


def test_a_missing_audio_encoder_is_told_with_the_command_that_brings_it(audio, monkeypatch):
    monkeypatch.setattr(audio.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match=r"pip install --no-deps openwakeword==0\.4\.0"):
        audio._installed()
