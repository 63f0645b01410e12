"""Back-translation of a built text task: what it adds, that it repeats, and that an interruption costs nothing."""

import hashlib
import importlib.util
import io
import json
import shutil
from pathlib import Path

import datasets
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import MarianConfig, MarianMTModel, PreTrainedTokenizerFast

from hf_ssl.benchmark import back_translation as module
from hf_ssl.benchmark.back_translation import Translator, augment
from hf_ssl.benchmark.build import build_task
from hf_ssl.benchmark.repository import read_record
from hf_ssl.benchmark.verify import verify_task
from hf_ssl.cli import main

from tests.helpers.benchmark_sources import make_source

WORDS = [f"w{number}" for number in range(40)]


def save_translator(folder: Path, seed: int) -> str:
    """A random Marian model whose vocabulary is forty words."""
    vocabulary = {token: index for index, token in enumerate(["</s>", "<unk>", *WORDS, "<pad>"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 0)])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="</s>", unk_token="<unk>", pad_token="<pad>", model_max_length=8
    )
    fast.save_pretrained(folder)
    save_model(folder, len(vocabulary), 8, seed)
    return str(folder)


def save_model(folder: Path, size: int, length: int, seed: int) -> None:
    """A random Marian model; the last entry of its vocabulary is for padding."""
    torch.manual_seed(seed)
    config = MarianConfig(
        vocab_size=size,
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        max_position_embeddings=length,
        pad_token_id=size - 1,
        decoder_start_token_id=size - 1,
        eos_token_id=0,
        forced_eos_token_id=0,
        init_std=0.5,
    )
    model = MarianMTModel(config)
    model.generation_config.bad_words_ids = [[size - 1]]
    # The published models say beam search, with which sampling would not be what the paper describes.
    model.generation_config.num_beams = 4
    model.generation_config.min_length = 4
    model.save_pretrained(folder)


@pytest.fixture(scope="module")
def translators(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return [save_translator(folder / name, seed) for seed, name in enumerate(("en-de", "de-en", "en-ru", "ru-en"))]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return make_source("ag_news", tmp_path_factory.mktemp("raw"), per_class=4)


@pytest.fixture(scope="module")
def built(source, tmp_path_factory):
    """Two training files of two row groups each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hf_ssl.benchmark.writer.ROW_GROUP_ROWS", 4)
        folder = build_task(
            source.task, source.folder, tmp_path_factory.mktemp("built") / "usb-ag_news", shard_bytes=700
        )
    assert [path.name for path in sorted(folder.glob("data/train-*"))] == [
        f"train-0000{i}-of-00002.parquet" for i in (0, 1)
    ]
    return folder


@pytest.fixture
def folder(built, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_CHUNK_BATCHES", 2)
    return Path(shutil.copytree(built, tmp_path / "usb-ag_news"))


@pytest.fixture
def fast_translation(monkeypatch):
    """Instead of a model, words that tell text and seed apart: for tests of everything around it."""
    monkeypatch.setattr(Translator, "__init__", lambda self, name, temperature, device: None)

    def translate(self, texts, batch_size, seed):
        return [f"{seed} {hashlib.sha256(text.encode()).hexdigest()}" for text in texts]

    monkeypatch.setattr(Translator, "translate", translate)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_augmented_task_passes_the_checks_of_a_built_one(folder, source, fast_translation):
    augment(folder, ["a", "b", "c", "d"], batch_size=2)
    assert [check for check in verify_task(folder, source.task) if not check.passed] == []


def load(folder: Path, config: str, tmp_path: Path) -> datasets.DatasetDict:
    return datasets.load_dataset(str(folder), config, cache_dir=str(tmp_path / "cache"))


def test_training_and_labeled_texts_get_two_translations_and_the_rest_stays(folder, translators, tmp_path):
    before = load(folder, "labels4_seed0", tmp_path)
    assert augment(folder, translators, batch_size=2) == folder
    after = load(folder, "labels4_seed0", tmp_path / "after")
    for split, data in after.items():
        assert data.column_names == ["text", "aug_0", "aug_1", "label"]
        assert data["text"][:] == before[split]["text"][:] and data["label"][:] == before[split]["label"][:]
        assert data.features["label"] == before[split].features["label"]
    for row in after["unlabeled"]:
        assert set(f"{row['aug_0']} {row['aug_1']}".split()) <= {*WORDS, "<unk>"} and row["aug_0"] != row["aug_1"]
    assert len(set(after["unlabeled"]["aug_0"][:])) == 16
    assert set(after["test"]["aug_0"][:]) == set(after["validation"]["aug_1"][:]) == {None}
    pool = {row["text"]: row for row in after["unlabeled"]}
    assert all(pool[row["text"]] == row for row in after["labeled"])
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_record_names_the_models_without_their_places(folder, translators, tmp_path, fast_translation):
    augment(folder, translators, temperature=0.7, batch_size=2, seed=3)
    record = read_record(folder)
    assert record["augmented"] is True
    assert record["augmentation"] == {
        "translation_models": ["en-de", "de-en", "en-ru", "ru-en"],
        "temperature": 0.7,
        "batch_size": 2,
        "seed": 3,
    }
    for name, data in content(folder).items():
        assert str(tmp_path).encode() not in data and translators[0].encode() not in data, name


def test_same_seed_gives_the_same_bytes_and_another_seed_other_texts(folder, translators, tmp_path):
    torch.manual_seed(5)
    expected_next = torch.rand(1)
    copies = [Path(shutil.copytree(folder, tmp_path / str(seed) / "usb-ag_news")) for seed in range(3)]
    torch.manual_seed(5)
    for copy, seed in zip(copies, (0, 0, 1), strict=True):
        augment(copy, translators, batch_size=2, seed=seed)
    assert torch.rand(1) == expected_next, "the global generator was disturbed"
    assert content(copies[0]) == content(copies[1]) != content(copies[2])


class Stopped(BaseException):
    """What a killed process amounts to: nothing after it runs."""


@pytest.mark.parametrize("stop_after", [0, 3, 5, 8, 11])
def test_interrupted_run_goes_on_and_ends_the_same(
    stop_after, folder, translators, tmp_path, fast_translation, monkeypatch
):
    whole = Path(shutil.copytree(folder, tmp_path / "whole" / "usb-ag_news"))
    calls = []
    translate = Translator.translate

    def counted(self, texts, batch_size, seed):
        calls.append(seed)
        return translate(self, texts, batch_size, seed)

    def stopping(self, texts, batch_size, seed):
        if len(calls) == stop_after:
            raise Stopped
        return counted(self, texts, batch_size, seed)

    monkeypatch.setattr(Translator, "translate", counted)
    augment(whole, translators, batch_size=2)
    total = len(calls)
    assert total > 11 and len(set(calls)) == total, "every chunk has random numbers of its own"
    calls.clear()

    before = content(folder)
    monkeypatch.setattr(Translator, "translate", stopping)
    with pytest.raises(Stopped):
        augment(folder, translators, batch_size=2)
    assert content(folder) == before, "nothing of the repository changes before all is done"
    workplace = tmp_path / ".usb-ag_news.augment"
    for path in workplace.glob("*.jsonl"):
        # Power failed in the middle of a line.
        with open(path, "a") as file:
            file.write('["half a li')
    calls.clear()
    monkeypatch.setattr(Translator, "translate", counted)
    augment(folder, translators, batch_size=2)
    # A chunk is two calls, there and back, of which one may be lost.
    assert len(calls) == total - stop_after // 2 * 2
    assert content(folder) == content(whole)
    assert not workplace.exists()


@pytest.mark.parametrize("renames", [1, 2])
def test_interrupted_replacement_loses_nothing(renames, folder, translators, tmp_path, monkeypatch, fast_translation):
    whole = Path(shutil.copytree(folder, tmp_path / "whole" / "usb-ag_news"))
    augment(whole, translators, batch_size=2)
    rename, done = Path.rename, []

    def stopping(self, target):
        if len(done) == renames:
            raise Stopped
        done.append(target)
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", stopping)
        patch.setattr(
            module.shutil,
            "rmtree",
            lambda *args, **kwargs: None if len(done) < 2 else (_ for _ in ()).throw(Stopped()),
        )
        with pytest.raises(Stopped):
            augment(folder, translators, batch_size=2)
    if renames == 1:
        assert not folder.exists()
        augment(folder, translators, batch_size=2)
    else:
        with pytest.raises(ValueError, match="augmentations already"):
            augment(folder, translators, batch_size=2)
    assert content(folder) == content(whole)
    assert not (tmp_path / ".usb-ag_news.augment").exists()


def test_unfinished_run_with_other_arguments_is_not_mixed(
    folder, translators, tmp_path, monkeypatch, fast_translation
):
    with monkeypatch.context() as patch:
        patch.setattr(Translator, "translate", lambda *args: (_ for _ in ()).throw(Stopped()))
        with pytest.raises(Stopped):
            augment(folder, translators, batch_size=2)
    with pytest.raises(
        ValueError, match=r"\.usb-ag_news\.augment holds an unfinished run with another temperature, seed"
    ):
        augment(folder, translators, batch_size=2, temperature=0.5, seed=1)


def test_overwrite_replaces_augmentations(folder, translators, tmp_path, fast_translation):
    once = Path(shutil.copytree(folder, tmp_path / "once" / "usb-ag_news"))
    augment(folder, translators, batch_size=2, seed=1)
    with pytest.raises(ValueError, match=r"has augmentations already; --overwrite replaces them"):
        augment(folder, translators, batch_size=2)
    augment(folder, translators, batch_size=2, overwrite=True)
    augment(once, translators, batch_size=2)
    assert content(folder) == content(once)


def test_translator_keeps_the_order_samples_and_stops_at_the_longest(translators):
    translator = Translator(translators[0], temperature=0.9, device="cpu")
    texts = ["w1 " * 40, "w2", "w3 w4 w5", "", "w6 w7"]
    first = translator.translate(texts, 2, seed=0)
    assert len(first) == 5 and first == translator.translate(texts, 2, seed=0)
    assert first != translator.translate(texts, 2, seed=1)
    assert all(len(text.split()) < 8 for text in first)
    # Nearly without temperature every draw is the most likely word for any seed, and each text keeps its place.
    greedy = Translator(translators[0], temperature=1e-4, device="cpu")
    alone = [greedy.translate([text], 1, seed=7)[0] for text in texts]
    assert greedy.translate(texts, 2, seed=8) == alone and len(set(alone)) > 1


def test_last_characters_are_translated_and_empty_translations_replaced(
    folder, translators, monkeypatch, fast_translation
):
    monkeypatch.setattr(module, "CHARACTERS", 12)
    seen = []

    def translate(self, texts, batch_size, seed):
        seen.extend(texts)
        return ["" if "9" in text else text.upper() for text in texts]

    monkeypatch.setattr(Translator, "translate", translate)
    augment(folder, translators, batch_size=2)
    rows = datasets.Dataset.from_parquet([str(path) for path in sorted(folder.glob("data/train-*.parquet"))])
    assert max(map(len, seen)) == 12
    assert all(row["aug_0"].lower() == row["text"][-12:].strip().lower() for row in rows)


def save_marian_tokenizer(folder: Path) -> str:
    """The files of a Helsinki-NLP model, its pieces learned from a few sentences."""
    spm = pytest.importorskip("sentencepiece")
    folder.mkdir()
    english = ["the cat sat on the mat", "a dog and a cat", "the dog sat"]
    german = ["die Katze saß auf der Matte", "ein Hund und eine Katze", "der Hund saß"]
    pieces = []
    for name, sentences in (("source", english), ("target", german)):
        written = io.BytesIO()
        spm.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_writer=written,
            vocab_size=40,
            hard_vocab_limit=False,
            minloglevel=2,
        )
        (folder / f"{name}.spm").write_bytes(written.getvalue())
        processor = spm.SentencePieceProcessor(model_proto=written.getvalue())
        pieces += [processor.id_to_piece(index) for index in range(3, len(processor))]
    vocabulary = ["</s>", "<unk>", *dict.fromkeys(pieces), "<pad>"]
    (folder / "vocab.json").write_text(json.dumps({piece: index for index, piece in enumerate(vocabulary)}))
    settings = {"tokenizer_class": "MarianTokenizer", "source_lang": "en", "target_lang": "de", "model_max_length": 12}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    save_model(folder, len(vocabulary), 12, seed=0)
    return str(folder)


def test_marian_tokenizer_decodes_what_it_translates(tmp_path):
    translator = Translator(save_marian_tokenizer(tmp_path / "en-de"), temperature=0.9, device="cpu")
    assert type(translator.tokenizer).__name__ == "MarianTokenizer"
    results = translator.translate(["the cat sat", "a dog"], 2, seed=0)
    assert all(results) and not any(mark in text for text in results for mark in ("▁", "</s>", "<pad>"))


def test_missing_sentencepiece_is_named_with_what_to_install(tmp_path):
    if importlib.util.find_spec("sentencepiece"):
        pytest.skip("sentencepiece is installed")
    for name in ("source.spm", "target.spm"):
        (tmp_path / name).touch()
    (tmp_path / "vocab.json").write_text('{"</s>": 0, "<unk>": 1, "<pad>": 2}')
    (tmp_path / "config.json").write_text('{"model_type": "marian"}')
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "MarianTokenizer"}')
    with pytest.raises(ImportError, match=r'SentencePiece.*pip install "hf-ssl\[translation\]"'):
        Translator(str(tmp_path), temperature=0.9)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"translation_models": ["a", "b"]}, "translation_models must name four models .*got 2"),
        ({"temperature": 0.0}, "temperature must be above 0, got 0.0"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
    ],
)
def test_wrong_arguments_are_named(arguments, reason, folder):
    with pytest.raises(ValueError, match=reason):
        augment(folder, **arguments)


def test_folders_that_cannot_be_augmented_are_named(tmp_path, translators, folder):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty is not a built task"):
        augment(tmp_path / "empty", translators)
    record = json.loads((folder / "benchmark.json").read_text())
    (folder / "benchmark.json").write_text(json.dumps({**record, "task": "cifar10"}))
    with pytest.raises(ValueError, match="cifar10 is an image task; back-translation is for text"):
        augment(folder, translators)


def test_missing_model_leaves_the_task_as_it_was(folder, tmp_path):
    before = content(folder)
    with pytest.raises(OSError, match="nowhere"):
        augment(folder, [str(tmp_path / "nowhere")] * 4)
    assert content(folder) == before


def test_command_line(folder, translators, capsys, fast_translation):
    arguments = ["--folder", str(folder), "--batch-size", "4", "--translation-models", *translators]
    assert main(["benchmark", "augment", "yelp_review", *arguments]) == 2
    assert "holds the task ag_news" in capsys.readouterr().err
    assert main(["benchmark", "augment", "ag_news", *arguments]) == 0
    assert f"hf-ssl benchmark verify {folder}" in capsys.readouterr().out
