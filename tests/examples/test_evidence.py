"""The evidence: its grid goes on where it stopped, its table says what the rows say, and a row can be repeated."""

import json
import math

import pytest
import torch
from transformers import MobileNetV1Config, MobileNetV1ForImageClassification, MobileNetV1ImageProcessor

from tests.helpers.tiny_tasks import TASKS as TINY
from tests.helpers.tiny_tasks import text_model, tokenizer

PLACES = ["--data", "nowhere", "--image-model", "none"]


@pytest.fixture(scope="module")
def evidence(benchmark_scripts):
    """The script, as a module."""
    import evidence

    return evidence


def row(algorithm, seed, accuracy, task="text", labels=40, **more):
    return {
        "task": task,
        "algorithm": algorithm,
        "labels": labels,
        "seed": seed,
        "test_accuracy": accuracy,
        "num_unlabeled": 4000,
        "test_examples": 2000,
        "cpu_seconds": 90.0,
        "machine": {"processor": "Some CPU", "cores": 2, "threads": 1},
        "settings": {},
        **more,
    }


ROWS = [
    *(row("supervised", seed, accuracy) for seed, accuracy in enumerate((0.80, 0.82, 0.84))),
    # Gains of 3, 4 and 5 points: 4 on average, standard error 1 / sqrt(3) = 0.58.
    *(row("fixmatch", seed, accuracy, cpu_seconds=150.0) for seed, accuracy in enumerate((0.83, 0.86, 0.89))),
    # Gains of 4, -2 and 1 points: 1 on average, standard error sqrt(3) = 1.73.
    *(row("freematch", seed, accuracy) for seed, accuracy in enumerate((0.84, 0.80, 0.85))),
    *(row("adamatch", seed, accuracy) for seed, accuracy in enumerate((0.70, 0.71, 0.74))),
    row("setfit", 0, 0.85),
]


def test_gains_are_means_and_standard_errors_of_the_differences_seed_by_seed(evidence):
    import evidence_report as report

    found = report.gain(ROWS, "text", "fixmatch", 40)
    assert found == pytest.approx((4.0, 1 / math.sqrt(3)))
    assert found.clear and not found.loss
    found = report.gain(ROWS, "text", "freematch", 40)
    assert found == pytest.approx((1.0, math.sqrt(3)))
    assert not found.clear and not found.loss
    assert report.gain(ROWS, "text", "adamatch", 40).loss
    assert report.gain(ROWS, "text", "setfit", 40).error is None
    assert report.gain(ROWS, "text", "simmatch", 40) is None


def test_the_table_says_what_helps_and_what_does_not(evidence, tmp_path, capsys):
    path = tmp_path / "evidence.json"
    path.write_text(json.dumps({"runs": ROWS}))
    assert evidence.main(["table", "--results", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "| labeled only | 82.0 ± 2.0 |  | 1.5 |" in lines
    assert "| `fixmatch` | 86.0 ± 3.0 | **+4.0 ± 0.6** | 2.5 |" in lines
    assert "| `freematch` | 83.0 ± 2.6 | +1.0 ± 1.7 | 1.5 |" in lines
    assert "| SetFit | 85.0 (1 seed) | +5.0 | 1.5 |" in lines
    said = next(line for line in lines if line.startswith("- With 40 labels"))
    assert said == (
        "- With 40 labels: clearly better than labeled only: `fixmatch`; clearly worse: `adamatch`; "
        "no clear difference: `freematch`."
    )
    assert lines[-1] == "Machine: Some CPU, 2 cores, 1 thread for a run (13 runs)."


def test_the_page_shows_the_tables_of_the_kept_results(evidence, benchmark_scripts, capsys):
    assert evidence.main(["table"]) == 0
    assert capsys.readouterr().out.strip() in (benchmark_scripts / "README.md").read_text(encoding="utf-8")


def test_the_picture_is_drawn_from_the_rows(evidence, tmp_path):
    path = tmp_path / "evidence.json"
    path.write_text(json.dumps({"runs": [*ROWS, row("supervised", 0, 0.5, task="images")]}))
    assert evidence.main(["picture", "--results", str(path)]) == 0
    assert (tmp_path / "evidence.png").stat().st_size > 10_000


@pytest.fixture
def finish(evidence, monkeypatch):
    """Runs that take no time: the list of those that were made, and a function that makes some of them fail."""
    made, failing = [], {}

    def run(wanted, places, **options):
        if len(made) in failing:
            raise failing.pop(len(made))
        made.append((wanted["algorithm"], wanted["seed"]))
        return row(**{"accuracy": 0.5, **wanted}) | {
            "settings": evidence.resolved(wanted["task"], wanted["algorithm"])
        }

    monkeypatch.setattr(evidence, "run", run)
    return made, failing


def grid(path, *more):
    return ["grid", *PLACES, "--results", str(path), "--tasks", "audio", "--labels", "100", *more]


def test_a_killed_grid_goes_on_where_it_stopped(evidence, finish, tmp_path):
    made, failing = finish
    path = tmp_path / "evidence.json"
    failing[5] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        evidence.main(grid(path))
    assert len(made) == len(json.loads(path.read_text())["runs"]) == 5
    assert evidence.main(grid(path)) == 0
    assert len(made) == len(set(made)) == 27, "nine algorithms, three seeds, each once"
    assert evidence.main(grid(path)) == 0
    assert len(made) == 27


def test_the_first_rows_tell_whether_the_pool_helps(evidence, finish, tmp_path):
    made, _ = finish
    evidence.main(grid(tmp_path / "evidence.json"))
    assert {name for name, _ in made[:12]} == {"supervised", "fixmatch", "softmatch", "adamatch"}


def test_setfit_runs_where_its_pairs_are_few(evidence):
    found = evidence.grid(["text"], ["setfit", "linear_probe"], None, [0])
    assert [(r["algorithm"], r["labels"]) for r in found] == [
        ("linear_probe", 40),
        ("setfit", 40),
        ("linear_probe", 200),
    ]


def test_rows_of_other_settings_run_again(evidence, finish, tmp_path, monkeypatch):
    import evidence_tasks

    made, _ = finish
    path = tmp_path / "evidence.json"
    evidence.main(grid(path, "--seeds", "0"))
    monkeypatch.setitem(evidence_tasks.ALGORITHM_SETTINGS["audio"], "fixmatch", {"threshold": 0.123})
    evidence.main(grid(path, "--seeds", "0"))
    assert made[9:] == [("fixmatch", 0)]
    assert len(json.loads(path.read_text())["runs"]) == 9


def test_a_row_that_fails_is_told_and_the_others_run(evidence, finish, tmp_path, capsys):
    made, failing = finish
    failing[1] = ImportError("No module named 'setfit'")
    assert evidence.main(grid(tmp_path / "evidence.json", "--seeds", "0")) == 1
    assert len(made) == 8
    assert capsys.readouterr().err == "audio fixmatch 100 0: ImportError: No module named 'setfit'\n"


def test_the_kept_results_hold_all_that_repeats_them_and_no_path(evidence):
    text = evidence.RESULTS.read_text(encoding="utf-8")
    rows = json.loads(text)["runs"]
    assert rows
    identities = [tuple(r[name] for name in ("task", "algorithm", "labels", "seed")) for r in rows]
    assert len(set(identities)) == len(rows)
    needed = {"settings", "versions", "machine", "draw_hash", "test_accuracy", "seconds", "cpu_seconds"}
    for kept in rows:
        assert needed <= kept.keys()
        assert 0 < kept["test_accuracy"] < 1
    assert not any(mark in text for mark in ("/work", "/tmp", "/home", "/root", "../"))
    # One draw for all algorithms of a seed.
    draws = {(r["task"], r["labels"], r["seed"], r["draw_hash"]) for r in rows}
    assert len(draws) == len({draw[:3] for draw in draws})


@pytest.fixture
def places(tmp_path, evidence, monkeypatch):
    """Data and models of a few examples and weights."""
    monkeypatch.setattr(evidence_audio(evidence).SpeechEmbeddingClassifier, "from_onnx", classmethod(untrained))
    for task, modality in (("images", "image"), ("text", "text"), ("audio", "audio")):
        folder = tmp_path / "data" / evidence.TASKS[task].folder
        folder.mkdir(parents=True)
        for split, count, seed in (("train", 60, 0), ("test", 12, 1)):
            data = TINY[modality][0](count, seed)
            if task == "audio":
                data = data.add_column("speaker", [str(i // 3) for i in range(count)])
            data.to_parquet(folder / f"{split}.parquet")
    torch.manual_seed(0)
    config = MobileNetV1Config(depth_multiplier=0.25, min_depth=4, image_size=32)
    MobileNetV1ForImageClassification(config).save_pretrained(tmp_path / "image")
    MobileNetV1ImageProcessor().save_pretrained(tmp_path / "image")
    text_model().save_pretrained(tmp_path / "text")
    tokenizer().save_pretrained(tmp_path / "text")
    return evidence.Places(tmp_path / "data", str(tmp_path / "image"), str(tmp_path / "text"))


def evidence_audio(evidence):
    import evidence_audio

    return evidence_audio


def untrained(cls, folder=None, **settings):
    return cls(cls.config_class(**settings))


SMALL = {"max_steps": 2, "per_device_train_batch_size": 3, "unlabeled_batch_ratio": 2}
RUNS = {
    "images": ("images", "fixmatch", SMALL | {"image_size": 32}),
    "text": ("text", "simmatch", SMALL | {"max_length": 8, "own.frozen_layers": 0}),
    "audio": ("audio", "mean_teacher", SMALL),
    "linear probe": ("text", "linear_probe", {}),
}


@pytest.mark.parametrize(("task", "algorithm", "changes"), RUNS.values(), ids=RUNS)
def test_two_runs_of_a_row_are_the_same(evidence, places, task, algorithm, changes):
    wanted = {"task": task, "algorithm": algorithm, "labels": 6, "seed": 0}
    times = {"seconds", "cpu_seconds"}
    first, second = (evidence.run(wanted, places, changes=changes, validation=False, workers=0) for _ in range(2))
    assert {k: v for k, v in first.items() if k not in times} == {k: v for k, v in second.items() if k not in times}
    assert first["test_examples"] == 12
    json.dumps(first)


def test_validation_holds_out_whole_speakers_and_leaves_the_test_set_alone(evidence, places):
    import evidence_tasks as tasks

    task = tasks.TASKS["audio"]
    data = tasks.load(task, places)
    pool, held = tasks.hold_out(data["train"], "speaker", size=20)
    assert len(pool) + len(held) == 60
    assert 20 <= len(held) <= 24
    assert not set(pool["speaker"]) & set(held["speaker"])


FRAMES, HOP, FFT = 76, 160, 512


def test_the_audio_encoder_makes_an_embedding_of_775_milliseconds_and_one_for_each_80_more(evidence):
    audio = evidence_audio(evidence)
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


def test_the_audio_encoder_measures_tones_in_decibels(evidence):
    audio = evidence_audio(evidence)
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


def test_the_audio_encoder_is_read_from_its_onnx_files(evidence, tmp_path):
    onnx = pytest.importorskip("onnx")
    audio = evidence_audio(evidence)
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


def test_freezing_leaves_whole_blocks_of_the_audio_encoder_and_its_statistics(evidence):
    audio = evidence_audio(evidence)
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


def test_a_missing_audio_encoder_is_told_with_the_command_that_brings_it(evidence, monkeypatch):
    audio = evidence_audio(evidence)
    monkeypatch.setattr(audio.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match=r"pip install --no-deps openwakeword==0\.4\.0"):
        audio._installed()
