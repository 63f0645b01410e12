"""One preprocessing of recordings: the model gets the same tensors in training, in evaluation and in use."""

import io
import json

import datasets
import numpy as np
import pytest
import soundfile
import torch
from transformers import AutoFeatureExtractor, Wav2Vec2FeatureExtractor, pipeline

from hf_ssl import SSLTrainer
from hf_ssl.cli import main
from hf_ssl.cli.classifier import Classifier
from hf_ssl.features import FeatureBank
from hf_ssl.views.audio import AudioViews

from tests.helpers.command_data import read_csv
from tests.helpers.model_inputs import assert_same, inputs_of, short_settings, training_inputs
from tests.helpers.tiny_tasks import new_model, task

RATE = 16_000
LENGTH = 4_000


def clips(sizes, seed=0):
    """Recordings of these numbers of samples, as files in a table; classes 0, 1, 2."""
    rng = np.random.default_rng(seed)
    waves = [rng.uniform(-0.5, 0.5, size).astype(np.float32) * (1 + i % 3) / 3 for i, size in enumerate(sizes)]
    rows = []
    for wave in waves:
        buffer = io.BytesIO()
        soundfile.write(buffer, wave, RATE, format="WAV", subtype="FLOAT")
        rows.append({"bytes": buffer.getvalue(), "path": None})
    labels = [i % 3 for i in range(len(sizes))]
    dataset = datasets.Dataset.from_dict({"audio": rows, "label": labels})
    dataset = dataset.cast_column("audio", datasets.Audio(sampling_rate=RATE))
    return dataset.cast_column("label", datasets.ClassLabel(names=["a", "b", "c"])), waves


SHORT = [1_000, 2_500, LENGTH, 3_000, LENGTH, 700]


@pytest.fixture(scope="module", params=[False, True], ids=["no mask", "mask"])
def recordings(request, tmp_path_factory):
    """A saved model of recordings, trained for a step, with its trainer and test data (longer clips among them)."""
    folder = tmp_path_factory.mktemp("audio")
    labeled, _ = clips(SHORT)
    test, waves = clips([600, 9_000, LENGTH, 2_000, 12_345, 300], 1)
    extractor = Wav2Vec2FeatureExtractor(return_attention_mask=request.param)
    trainer = SSLTrainer(
        new_model("audio"),
        short_settings(folder / "run", max_length_seconds=LENGTH / RATE, algorithm="supervised"),
        train_dataset=labeled,
        unlabeled_dataset=labeled,
        eval_dataset=test,
        processing_class=extractor,
    )
    trainer.train()
    trainer.save_model(folder / "model")
    test.cast_column("audio", datasets.Audio(decode=False)).to_parquet(folder / "test.parquet")
    assert not hasattr(extractor, "max_length_seconds"), "the user's object was changed"
    return trainer, str(folder / "model"), test, waves


def test_recordings_are_the_same_tensors_in_every_way(recordings):
    trainer, folder, _, waves = recordings
    evaluated = inputs_of(trainer.model, lambda: trainer.evaluate())
    assert {tuple(example["input_values"].shape) for example in evaluated} == {(LENGTH,)}

    classifier = Classifier(folder, device="cpu")
    cells = [{"array": wave, "sampling_rate": RATE} for wave in waves]
    assert_same(inputs_of(classifier.pipeline.model, lambda: list(classifier(cells))), evaluated)

    use = pipeline("audio-classification", folder, device="cpu")
    for wave, example in zip(waves, evaluated, strict=True):
        clip = wave[:LENGTH]
        (own,) = inputs_of(use.model, lambda clip=clip: use(clip))
        for name, value in own.items():
            assert torch.equal(example[name][: len(clip)], value)
            assert not example[name][len(clip) :].any()


def test_training_without_augmentation_gives_the_tensors_of_evaluation(recordings):
    trainer, _, _, _ = recordings
    labeled, _ = clips(SHORT)
    evaluated = inputs_of(trainer.model, lambda: trainer.evaluate(labeled))
    assert_same(training_inputs(trainer, len(labeled)), evaluated)


def test_evaluate_and_predict_say_what_the_trainer_says(recordings, tmp_path):
    trainer, folder, test, _ = recordings
    output = trainer.predict(test)
    expected = torch.from_numpy(output.predictions).softmax(-1)
    table = str(tmp_path / "test.parquet")
    test.cast_column("audio", datasets.Audio(decode=False)).to_parquet(table)
    assert main(["evaluate", folder, table, "--output-dir", str(tmp_path / "out"), "--device", "cpu"]) == 0
    metrics = json.loads((tmp_path / "out" / "evaluation.json").read_text())["metrics"]
    assert metrics["accuracy"] == pytest.approx(output.metrics["test_accuracy"])
    file = str(tmp_path / "p.csv")
    assert main(["predict", folder, table, "--output", file, "--device", "cpu"]) == 0
    for row, probabilities in zip(read_csv(tmp_path / "p.csv"), expected, strict=True):
        assert row["label"] == ["a", "b", "c"][probabilities.argmax()]
        assert float(row["probability"]) == pytest.approx(float(probabilities.max()), abs=1e-4)


def test_the_length_of_recordings_travels_and_holds_for_the_next_training(recordings, tmp_path, caplog):
    trainer, folder, test, _ = recordings
    extractor = AutoFeatureExtractor.from_pretrained(folder)
    assert extractor.max_length_seconds == LENGTH / RATE
    assert AudioViews(extractor).max_length == LENGTH
    bank = FeatureBank.encode(trainer.model, test, extractor, cache_dir=tmp_path, pooling="head", disable_tqdm=True)
    again = SSLTrainer(folder, short_settings(tmp_path), train_dataset=test, unlabeled_dataset=test)
    assert again.views.max_length == LENGTH
    assert "recordings are cut at 0.25 s, as the feature extractor was saved, and some last 0.7" in caplog.text
    with torch.no_grad():
        logits = again.model.eval().classifier(torch.from_numpy(np.array(bank.features)))
    np.testing.assert_allclose(logits, trainer.predict(test).predictions, atol=1e-5)
    longer = SSLTrainer(
        folder, short_settings(tmp_path, max_length_seconds=0.5), train_dataset=test, unlabeled_dataset=test
    )
    assert longer.views.max_length == 8_000 and longer.processing_class.max_length_seconds == 0.5


def test_pipelines_cut_no_recordings_whatever_is_saved(recordings):
    """Why `hf-ssl predict` does it, and the model card says so: a pipeline gives all 12,345 samples to the model."""
    _, folder, _, waves = recordings
    use = pipeline("audio-classification", folder, device="cpu")
    (own,) = inputs_of(use.model, lambda: use(waves[4]))
    assert own["input_values"].shape == (12_345,)


def test_a_recording_of_one_sample_is_answered_and_takes_no_other_with_it(recordings):
    _, folder, _, waves = recordings
    classifier = Classifier(folder, device="cpu")
    cells = [{"array": wave, "sampling_rate": RATE} for wave in (waves[0], waves[0][:1], waves[1])]
    answers = list(classifier(cells))
    assert [bool(answer.error) for answer in answers] == [False, False, False]
    assert all(sum(answer.probabilities.values()) == pytest.approx(1) for answer in answers)


def prepared(dataset, extractor, **call):
    """Rows with the extractor's tensors beside the recording, as a script's `map` leaves them."""

    def add(row):
        wave, _ = soundfile.read(io.BytesIO(row["audio"]["bytes"]), dtype="float32")
        return {name: values[0] for name, values in extractor(wave, sampling_rate=RATE, **call).items()}

    mapped = dataset.cast_column("audio", datasets.Audio(decode=False)).map(add)
    return mapped.cast_column("audio", datasets.Audio(sampling_rate=RATE))


@pytest.mark.parametrize("given", [False, True], ids=["values alone", "values and mask"])
@pytest.mark.parametrize("masks", [False, True], ids=["extractor without mask", "extractor with mask"])
@pytest.mark.parametrize("seconds", [None, 0.5])
def test_strong_views_of_a_raw_column_have_the_mask_that_the_rows_have(tmp_path, given, masks, seconds):
    labeled, waves = clips(SHORT)
    extractor = Wav2Vec2FeatureExtractor(return_attention_mask=masks)
    rows = prepared(labeled, extractor, return_attention_mask=given)
    trainer = SSLTrainer(
        new_model("audio"),
        short_settings(tmp_path, algorithm="fixmatch", strong_effects=0, max_length_seconds=seconds),
        train_dataset=rows,
        unlabeled_dataset=rows.remove_columns("label"),
        eval_dataset=rows,
        processing_class=extractor,
    )
    batch = trainer._collator.to_batch(next(iter(trainer.get_train_dataloader())))
    weak, strong = batch.unlabeled["weak"], batch.unlabeled["strong"]
    assert weak.keys() == strong.keys() == batch.labeled.keys()
    assert ("attention_mask" in weak) == (given or masks)
    for place, index in enumerate(batch.unlabeled_index.tolist()):
        wave = waves[index]
        expected = (wave - wave.mean()) / np.sqrt(wave.var() + 1e-7)
        for view in (weak, strong):
            np.testing.assert_allclose(view["input_values"][place, : len(wave)], expected, atol=1e-5)
            assert not view["input_values"][place, len(wave) :].any()
            if "attention_mask" in view:
                assert view["attention_mask"][place].sum() == len(wave)
    # As long as the rows, or as the settings say; then also the weak view, which without a mask is read to its end.
    assert strong["input_values"].shape[1] == (LENGTH if seconds is None else 8_000)
    assert seconds is None or weak["input_values"].shape[1] == 8_000
    trainer.train()
    assert np.isfinite(trainer.evaluate()["eval_loss"])


def test_the_length_of_views_of_the_user_travels(tmp_path):
    labeled, _ = clips(SHORT)
    given = {"train_dataset": labeled, "unlabeled_dataset": labeled, "processing_class": Wav2Vec2FeatureExtractor()}
    views = AudioViews(Wav2Vec2FeatureExtractor(), max_length_seconds=0.125)
    trainer = SSLTrainer(new_model("audio"), short_settings(tmp_path), **given, views=views)
    assert trainer.processing_class.max_length_seconds == 0.125


def test_an_example_that_is_made_otherwise_is_found_before_the_first_step(tmp_path, monkeypatch):
    original = AudioViews.collate
    monkeypatch.setattr(AudioViews, "collate", lambda s, i: {n: 2 * v for n, v in original(s, i).items()})
    with pytest.raises(ValueError, match="input_values must be what the feature extractor makes of a recording, got"):
        SSLTrainer(new_model("audio"), short_settings(tmp_path), **task("audio"))


def test_unmasked_rows_of_different_lengths_are_warned_of_and_padded_to_the_length_that_is_set(tmp_path, caplog):
    """Without the raw column: the second half of the model's own padding rule."""
    labeled, _ = clips(SHORT)
    extractor = Wav2Vec2FeatureExtractor(return_attention_mask=False)
    rows = prepared(labeled, extractor).remove_columns("audio")
    given = {"train_dataset": rows, "unlabeled_dataset": rows, "eval_dataset": rows, "processing_class": extractor}
    run = SSLTrainer(new_model("audio"), short_settings(tmp_path, algorithm="supervised"), **given)
    assert "no attention_mask: the model reads the padding" in caplog.text
    alone = run.predict(rows.select([0])).predictions
    assert np.abs(run.predict(rows).predictions[:1] - alone).max() > 1e-4
    caplog.clear()
    asked = short_settings(tmp_path, algorithm="supervised", max_length_seconds=LENGTH / RATE)
    run = SSLTrainer(new_model("audio"), asked, **given)
    assert "padding" not in caplog.text
    np.testing.assert_allclose(run.predict(rows).predictions[:1], run.predict(rows.select([0])).predictions, atol=1e-6)
