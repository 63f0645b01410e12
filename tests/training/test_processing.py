"""One preprocessing of texts and recordings: the model gets the same tensors in training, evaluation and in use."""

import copy
import io
import json

import datasets
import numpy as np
import pytest
import torch
from transformers import (
    AutoFeatureExtractor,
    BertConfig,
    BertForSequenceClassification,
    FNetConfig,
    FNetForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
    Wav2Vec2FeatureExtractor,
    pipeline,
)

pytest.importorskip("torchaudio")
soundfile = pytest.importorskip("soundfile")

from hf_ssl import SSLConfig, SSLTrainer
from hf_ssl.cli import main
from hf_ssl.cli.classifier import Classifier
from hf_ssl.features import FeatureBank
from hf_ssl.views.audio import AudioViews
from hf_ssl.views.text import TextViews

from tests.helpers.command_data import read_csv
from tests.helpers.tiny_tasks import new_model, task, text_model
from tests.helpers.word_tokenizer import WORDS, make_tokenizer

RATE = 16_000
LENGTH = 4_000
SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def settings(folder, **more):
    usual = {
        "output_dir": str(folder),
        "max_steps": 1,
        "per_device_train_batch_size": 3,
        "unlabeled_batch_ratio": 1,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "disable_tqdm": True,
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": False,
    }
    return SSLConfig(**usual | more)


def inputs_of(model, call):
    """What the model is called with, one dict per example, while `call` runs."""
    seen = []

    def remember(module, args, keywords):
        tensors = {name: value for name, value in keywords.items() if isinstance(value, torch.Tensor)}
        tensors.pop("labels", None)
        for place in range(len(next(iter(tensors.values())))):
            seen.append({name: value[place] for name, value in tensors.items()})

    handle = model.register_forward_pre_hook(remember, with_kwargs=True)
    try:
        call()
    finally:
        handle.remove()
    return seen


def without_padding(example):
    keep = example["attention_mask"].bool()
    return {name: value[keep] for name, value in example.items()}


def assert_same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            assert torch.equal(one[name], other[name]), name


def training_inputs(trainer, rows):
    """Labeled examples as a step gets them, in the order of the dataset."""
    found = {}
    for inputs in trainer.get_train_dataloader():
        batch = trainer._collator.to_batch(inputs)
        for place, index in enumerate(batch.labeled_index.tolist()):
            found[index] = {name: value[place] for name, value in batch.labeled.items()}
        if len(found) == rows:
            break
    return [found[index] for index in range(rows)]


# ---- Recordings ----


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
        settings(folder / "run", max_length_seconds=LENGTH / RATE, algorithm="supervised"),
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
    again = SSLTrainer(folder, settings(tmp_path), train_dataset=test, unlabeled_dataset=test)
    assert again.views.max_length == LENGTH
    assert "recordings are cut at 0.25 s, as the feature extractor was saved, and some last 0.7" in caplog.text
    with torch.no_grad():
        logits = again.model.eval().classifier(torch.from_numpy(np.array(bank.features)))
    np.testing.assert_allclose(logits, trainer.predict(test).predictions, atol=1e-5)
    longer = SSLTrainer(folder, settings(tmp_path, max_length_seconds=0.5), train_dataset=test, unlabeled_dataset=test)
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


# ---- Recordings that were made ready by the user ----


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
        settings(tmp_path, algorithm="fixmatch", strong_effects=0, max_length_seconds=seconds),
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


# ---- Texts ----


def sentences(count, seed=0, words=(3, 30), pair=False):
    rng = np.random.default_rng(seed)
    rows = {
        name: [" ".join(rng.choice(WORDS, int(rng.integers(*words)))) for _ in range(count)]
        for name in (("premise", "hypothesis") if pair else ("text",))
    }
    dataset = datasets.Dataset.from_dict({**rows, "label": [i % 3 for i in range(count)]})
    return dataset.cast_column("label", datasets.ClassLabel(names=["a", "b", "c"]))


def bert(positions=64, **more):
    torch.manual_seed(0)
    config = BertConfig(vocab_size=45, max_position_embeddings=positions, num_labels=3, **SIZES, **NO_DROPOUT, **more)
    return BertForSequenceClassification(config)


def text_trainer(folder, tokenizer, model=None, pair=False, **more):
    labeled = sentences(6, 0, pair=pair)
    return SSLTrainer(
        bert() if model is None else model,
        settings(folder, **{"algorithm": "supervised"} | more),
        train_dataset=labeled,
        unlabeled_dataset=labeled,
        eval_dataset=sentences(9, 1, pair=pair),
        processing_class=tokenizer,
    )


TOKENIZERS = {
    "as it is": {},
    "padding left": {"padding_side": "left"},
    "truncation left": {"truncation_side": "left"},
    "limit 20": {"model_max_length": 20},
    "limit 4": {"model_max_length": 4},
    "no types": {"model_input_names": ["input_ids", "attention_mask"]},
    "no mask": {"model_input_names": ["input_ids", "token_type_ids"]},
}


@pytest.mark.parametrize("pair", [False, True], ids=["text", "pair"])
@pytest.mark.parametrize("max_length", [None, 9])
@pytest.mark.parametrize("attributes", TOKENIZERS.values(), ids=TOKENIZERS)
def test_texts_are_the_same_tensors_in_every_way(tmp_path, attributes, max_length, pair):
    if pair and attributes.get("model_max_length") == 4:
        pytest.skip("three of four tokens are special")
    tokenizer = make_tokenizer()
    for name, value in attributes.items():
        setattr(tokenizer, name, value)
    before = copy.deepcopy(tokenizer.init_kwargs), tokenizer.model_max_length
    trainer = text_trainer(tmp_path / "run", tokenizer, pair=pair, max_length=max_length)
    assert (tokenizer.init_kwargs, tokenizer.model_max_length) == before, "the user's object was changed"
    trainer.save_model(tmp_path / "model")
    folder = str(tmp_path / "model")
    limit = max_length or min(attributes.get("model_max_length", 64), 64)

    evaluated = [without_padding(example) for example in inputs_of(trainer.model, lambda: trainer.evaluate())]
    lengths = [len(example["input_ids"]) for example in evaluated]
    assert max(lengths) == limit if limit < 30 else max(lengths) < limit
    # The user's own tokenizer says what is right.
    columns = ["premise", "hypothesis"] if pair else ["text"]
    test = sentences(9, 1, pair=pair)
    for place, example in enumerate(evaluated):
        own = tokenizer(*[test[place][name] for name in columns], truncation=True, max_length=limit)
        assert example["input_ids"].tolist() == own["input_ids"]
        assert ("token_type_ids" in example) == ("token_type_ids" in own)

    labeled = sentences(6, 0, pair=pair)
    again = [without_padding(e) for e in inputs_of(trainer.model, lambda: trainer.evaluate(labeled))]
    assert_same([without_padding(e) for e in training_inputs(trainer, 6)], again)

    values = [row[columns[0]] if not pair else tuple(row[name] for name in columns) for row in test]
    classifier = Classifier(folder, batch_size=4, device="cpu")
    seen = inputs_of(classifier.pipeline.model, lambda: list(classifier(values)))
    assert_same([without_padding(e) for e in seen], evaluated)

    use = pipeline("text-classification", folder, device="cpu")
    for value, example in zip(values, evaluated, strict=True):
        given = value if not pair else {"text": value[0], "text_pair": value[1]}
        seen = inputs_of(use.model, lambda given=given: use([given], truncation=True))
        assert_same([without_padding(e) for e in seen], [example])


def test_pipelines_cut_texts_only_when_asked(tmp_path):
    """Why the model card's line has `truncation=True`: a plain call gives all tokens to the model."""
    text_trainer(tmp_path / "run", make_tokenizer(), max_length=9).save_model(tmp_path / "model")
    use = pipeline("text-classification", str(tmp_path / "model"), device="cpu")
    text = " ".join(WORDS[:20])
    (plain,), (cut,) = (inputs_of(use.model, lambda o=o: use(text, **o)) for o in ({}, {"truncation": True}))
    assert (len(plain["input_ids"]), len(cut["input_ids"])) == (22, 9)


def test_without_a_mask_texts_are_padded_to_one_length_everywhere(tmp_path):
    """FNet reads padding: an answer must not depend on the longest text beside it."""
    tokenizer = make_tokenizer()
    tokenizer.model_input_names = ["input_ids", "token_type_ids"]
    torch.manual_seed(0)
    model = FNetForSequenceClassification(
        FNetConfig(vocab_size=45, max_position_embeddings=64, num_labels=3, pad_token_id=0, **SIZES)
    )
    trainer = text_trainer(tmp_path / "run", tokenizer, model, max_length=16)
    test = sentences(9, 1)
    evaluated = inputs_of(trainer.model, lambda: trainer.evaluate())
    assert {tuple(e["input_ids"].shape) for e in evaluated} == {(16,)}
    trainer.save_model(tmp_path / "model")
    classifier = Classifier(str(tmp_path / "model"), batch_size=2, device="cpu")
    assert_same(inputs_of(classifier.pipeline.model, lambda: list(classifier(test["text"][:]))), evaluated)
    use = pipeline("text-classification", str(tmp_path / "model"), device="cpu")
    options = {"truncation": True, "padding": "max_length"}
    assert_same(inputs_of(use.model, lambda: [use(text, **options) for text in test["text"]]), evaluated)


def roberta():
    config = RobertaConfig(
        vocab_size=45, max_position_embeddings=34, pad_token_id=1, num_labels=3, **SIZES, **NO_DROPOUT
    )
    return RobertaForSequenceClassification(config)


@pytest.mark.parametrize("by", ["object", "path"])
@pytest.mark.parametrize("model", [lambda: bert(32), roberta], ids=["bert", "roberta"])
@pytest.mark.parametrize(
    ("of_tokenizer", "max_length", "expected", "said"),
    [
        (10**30, None, 32, "the tokenizer allows 512"),
        (64, None, 32, "the tokenizer allows 64"),
        (16, None, 16, None),
        (16, 64, 32, "max_length is 64"),
        (64, 8, 8, None),
    ],
)
def test_texts_are_cut_where_the_positions_end(tmp_path, caplog, by, model, of_tokenizer, max_length, expected, said):
    tokenizer = make_tokenizer(template=True)
    tokenizer.model_max_length = of_tokenizer
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    model = model()
    name = type(model).__name__
    if by == "path":
        model.save_pretrained(tmp_path / "base")
        model = str(tmp_path / "base")
    labeled = sentences(6, 0, words=(60, 61))
    trainer = SSLTrainer(
        model,
        settings(tmp_path / "run", algorithm="fixmatch", max_length=max_length),
        train_dataset=labeled,
        unlabeled_dataset=labeled,
        eval_dataset=labeled,
        processing_class=tokenizer,
    )
    assert trainer.views.max_length == trainer.processing_class.model_max_length == expected
    lines = [line for line in caplog.messages if "texts are cut" in line]
    assert lines == ([f"texts are cut at 32 tokens, for which {name} has positions; {said}"] if said else [])
    trainer.train()
    assert np.isfinite(trainer.evaluate()["eval_loss"])


def test_a_model_that_was_saved_with_a_tokenizer_without_limit_predicts_long_texts(tmp_path):
    bert(32).save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    (answer,) = Classifier(str(tmp_path), device="cpu")([" ".join(WORDS * 2)])
    assert sum(answer.probabilities.values()) == pytest.approx(1)


def test_a_feature_bank_cuts_where_the_positions_end(tmp_path):
    texts = sentences(4, 0, words=(60, 61))
    bank = FeatureBank.encode(bert(32), texts, make_tokenizer(), cache_dir=tmp_path, disable_tqdm=True)
    assert bank.features.shape == (4, 16)


@pytest.mark.parametrize("by", ["object", "path"])
def test_tokens_without_embeddings_are_refused_at_construction(tmp_path, by):
    tokenizer = make_tokenizer()
    tokenizer.add_tokens(["<one>", "<two>"])
    model = bert()
    if by == "path":
        model.save_pretrained(tmp_path / "base")
        model = str(tmp_path / "base")
    with pytest.raises(ValueError) as error:
        text_trainer(tmp_path, tokenizer, model)
    assert str(error.value) == (
        "every token of the tokenizer must have an embedding in the model, got 45 embeddings and 2 tokens beyond them "
        "(the first: '<one>', id 45); call model.resize_token_embeddings(len(tokenizer)) and give the model as an "
        "object, or use the model's own tokenizer"
    )


def test_resized_embeddings_are_accepted_and_more_embeddings_than_tokens_are(tmp_path):
    tokenizer = make_tokenizer()
    tokenizer.add_tokens(["<one>"])
    model = bert()
    model.resize_token_embeddings(len(tokenizer))
    text_trainer(tmp_path, tokenizer, model).train()
    model.resize_token_embeddings(64)
    text_trainer(tmp_path, tokenizer, model).train()


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([5] * 33, "row 4 of the labeled dataset must hold at most 32 tokens, the positions of Bert.*, got 33; .*=32"),
        ([5, 45], "row 4 of the labeled dataset must hold token ids below 45, the embeddings of Bert.*, got 45; use"),
    ],
    ids=["too long", "unknown id"],
)
def test_rows_of_token_ids_must_fit_the_model(tmp_path, ids, message):
    rows = {"input_ids": [[5, 6, 7]] * 4 + [ids] + [[8]], "label": [0, 1, 2] * 2}
    data = datasets.Dataset.from_dict(rows)
    with pytest.raises(ValueError, match=message):
        SSLTrainer(
            bert(32),
            settings(tmp_path),
            train_dataset=data,
            unlabeled_dataset=data,
            processing_class=make_tokenizer(),
        )


@pytest.mark.parametrize("ready", [False, True], ids=["token ids", "augmentation column"])
def test_strong_views_of_token_ids_alone_have_the_mask_of_the_weak_ones(tmp_path, ready):
    texts = sentences(6, 0, words=(8, 9))
    tokenizer = make_tokenizer()
    rows = texts.map(lambda row: {"input_ids": tokenizer(row["text"])["input_ids"]})
    if ready:
        rows = rows.add_column("aug_0", texts["text"][:])
    trainer = SSLTrainer(
        bert(),
        settings(tmp_path, algorithm="fixmatch", token_mask_ratio=0.5),
        train_dataset=rows,
        unlabeled_dataset=rows.remove_columns("label"),
        processing_class=tokenizer,
    )
    batch = trainer._collator.to_batch(next(iter(trainer.get_train_dataloader())))
    weak, strong = batch.unlabeled["weak"], batch.unlabeled["strong"]
    assert weak.keys() == strong.keys() == {"input_ids", "attention_mask"}
    if ready:
        assert torch.equal(strong["input_ids"], weak["input_ids"])
    # What is masked is hidden from attention as well.
    assert torch.equal(strong["attention_mask"] == 0, (strong["input_ids"] == 3) | (strong["input_ids"] == 0))
    trainer.train()


def test_views_of_the_user_are_held_to_the_positions_and_their_length_travels(tmp_path):
    labeled = sentences(6)
    given = {"train_dataset": labeled, "unlabeled_dataset": labeled, "processing_class": make_tokenizer()}
    with pytest.raises(ValueError, match=r"max_length of the views must be at most 32, .* got 40; make them with"):
        SSLTrainer(bert(32), settings(tmp_path), **given, views=TextViews(make_tokenizer(), max_length=40))
    trainer = SSLTrainer(bert(32), settings(tmp_path), **given, views=TextViews(make_tokenizer(), max_length=12))
    assert trainer.processing_class.model_max_length == 12
    labeled, _ = clips(SHORT)
    given = {"train_dataset": labeled, "unlabeled_dataset": labeled, "processing_class": Wav2Vec2FeatureExtractor()}
    views = AudioViews(Wav2Vec2FeatureExtractor(), max_length_seconds=0.125)
    trainer = SSLTrainer(new_model("audio"), settings(tmp_path), **given, views=views)
    assert trainer.processing_class.max_length_seconds == 0.125


def test_a_processor_that_fits_already_stays_the_same_object(tmp_path):
    given = task("text")
    trainer = SSLTrainer(text_model(), settings(tmp_path), **given)
    assert trainer.processing_class is given["processing_class"]


class Holder:
    """A processor of several modalities."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.model_input_names = tokenizer.model_input_names

    def save_pretrained(self, folder):
        self.tokenizer.save_pretrained(folder)


def test_a_tokenizer_inside_a_processor_is_fitted_in_a_copy(tmp_path):
    holder = Holder(make_tokenizer())
    trainer = text_trainer(tmp_path, holder, max_length=9)
    assert trainer.processing_class is not holder and holder.tokenizer.model_max_length > 10**20
    assert trainer.processing_class.tokenizer.model_max_length == 9


@pytest.mark.parametrize("modality", ["audio", "text"])
def test_an_example_that_is_made_otherwise_is_found_before_the_first_step(tmp_path, modality, monkeypatch):
    """The check at the start, with views that scale what the processor made."""
    if modality == "audio":
        original = AudioViews.collate
        monkeypatch.setattr(AudioViews, "collate", lambda s, i: {n: 2 * v for n, v in original(s, i).items()})
        message = "input_values must be what the feature extractor makes of a recording, got other values"
    else:
        original = TextViews.evaluation
        monkeypatch.setattr(TextViews, "evaluation", lambda s, r: {n: v[::-1] for n, v in original(s, r).items()})
        message = "input_ids, .* must be what the tokenizer makes of a text, got other values from TextViews"
    with pytest.raises(ValueError, match=message):
        SSLTrainer(new_model(modality), settings(tmp_path), **task(modality))
