"""Batches of texts of similar length: how lengths are found, and how much padding is left."""

from itertools import islice
from pathlib import Path

import datasets
import numpy as np
import pytest
from tokenizers import BertWordPieceTokenizer
from transformers import BertTokenizerFast

from hf_ssl import SSLConfig, SSLTrainer
from hf_ssl.batches.collators import SSLCollator
from hf_ssl.batches.dataset import ViewDataset
from hf_ssl.batches.lengths import TextLengths
from hf_ssl.batches.sampler import JointBatchSampler
from hf_ssl.data.columns import inspect_data
from hf_ssl.data.prepare import prepare_pool
from hf_ssl.views.text import TextViews

from tests.helpers.quiet import QUIET
from tests.helpers.tiny_tasks import new_model, task, tokenizer

AG_NEWS = Path(__file__).parents[3] / "shared" / "data" / "ag_news"
TEXTS = ["red", "the sky is blue", "a rose", "was it red or was it very very green", None]


def pool(**columns):
    return datasets.Dataset.from_dict({"text": TEXTS, "label": [0, 1, 0, 1, 0], **columns})


def lengths_of(dataset, length_column="length", with_tokenizer=True, max_length=None):
    data = inspect_data(dataset.select(range(min(len(dataset), 4))), processor=tokenizer())
    return TextLengths(
        prepare_pool(dataset, data, False), data, length_column, tokenizer() if with_tokenizer else None, max_length
    )


IDS = [[5], [5, 6], [5, 6, 7], [5], [6, 5]]
KINDS = {
    "tokens": (pool(), {}, [1, 4, 2, 9, 0]),
    "tokens at which texts are cut": (pool(), {"max_length": 3}, [1, 3, 2, 3, 0]),
    "bytes without a tokenizer": (pool(), {"with_tokenizer": False}, [3, 15, 6, 36, 0]),
    "a column of lengths": (pool(length=[3, 1, 2, 9, 5]), {}, [3, 1, 2, 9, 5]),
    "of another name": (pool(words=[0.5, 1.0, 2.5, 9.0, None]), {"length_column": "words"}, [0.5, 1, 2.5, 9, 0]),
    "token ids": (pool(input_ids=IDS), {}, [1, 2, 3, 1, 2]),
    "token ids by transform": (
        pool().with_transform(lambda rows: {"input_ids": IDS[: len(rows["text"])]}),
        {},
        [1, 4, 2, 9, 0],
    ),
    "another order than is stored": (pool().select([3, 0, 1, 2, 4]), {}, [9, 1, 4, 2, 0]),
}


@pytest.mark.parametrize(("dataset", "settings", "expected"), KINDS.values(), ids=KINDS)
def test_lengths_of(dataset, settings, expected):
    lengths = lengths_of(dataset, **settings)
    places = np.array([3, 0, 3, 4, 1, 2])
    # Twice: once counted, once remembered.
    for _ in range(2):
        assert lengths[places].tolist() == [expected[place] for place in places]


def test_both_texts_of_a_pair_count():
    pairs = datasets.Dataset.from_dict({"premise": ["a", "red sky"], "hypothesis": ["the sea", "is"], "label": [0, 1]})
    assert lengths_of(pairs)[np.arange(2)].tolist() == [3, 3]


def test_a_length_is_counted_once(monkeypatch):
    lengths, counted = lengths_of(pool()), []
    real = lengths._texts
    monkeypatch.setattr(lengths, "_texts", lambda columns: counted.extend(columns[0]) or real(columns))
    for places in ([0, 1, 1], [1, 2], [0, 2]):
        lengths[np.array(places)]
    assert counted == ["red", "the sky is blue", "a rose"]


def make_trainer(folder, **config):
    defaults = {
        "train_sampling_strategy": "group_by_length",
        "per_device_train_batch_size": 2,
        "max_steps": 3,
        "algorithm_kwargs": {"threshold": 0.3},
        **QUIET,
    }
    return SSLTrainer(new_model("text"), SSLConfig(str(folder), **{**defaults, **config}), **task("text"))


def test_workers_get_the_same_batches(tmp_path):
    batches = [
        [
            batch["unlabeled_index"].tolist()
            for batch in make_trainer(tmp_path, dataloader_num_workers=n).get_train_dataloader()
        ]
        for n in (0, 2)
    ]
    assert batches[0] == batches[1]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_while_lengths_are_found_ends_the_training(monkeypatch, tmp_path, workers):
    """Keys for workers are made in a thread of the loader; an error lost there would be waited for forever."""

    def fail(*_):
        raise OSError("the disk is gone")

    monkeypatch.setattr(TextLengths, "_texts", fail)
    with pytest.raises(OSError if workers == 0 else RuntimeError, match="the disk is gone"):
        make_trainer(tmp_path, dataloader_num_workers=workers).train()


@pytest.fixture(scope="module")
def news():
    """AG News, and a tokenizer of 8,000 word pieces made of it."""
    if not (AG_NEWS / "train.parquet").exists():
        pytest.skip("no ../shared/data/ag_news")
    dataset = datasets.Dataset.from_parquet(str(AG_NEWS / "train.parquet"))
    pieces = BertWordPieceTokenizer(lowercase=True)
    pieces.train_from_iterator(dataset["text"][:], vocab_size=8000, show_progress=False)
    return dataset, BertTokenizerFast(tokenizer_object=pieces._tokenizer, model_max_length=512)


def share_of_padding(news, labels, ratio, grouped, batches=40):
    """Share of padding among the tokens of the three views, each padded to its own longest text."""
    dataset, pieces = news
    classes = np.array(dataset["label"][:])
    rng = np.random.default_rng(0)
    chosen = np.concatenate([rng.choice(np.flatnonzero(classes == c), labels // 4, replace=False) for c in range(4)])
    labeled, views = dataset.select(chosen), TextViews(pieces, augmentation_columns=())
    data = inspect_data(labeled, processor=pieces)
    lengths = tuple(TextLengths(part, data, "length", pieces) for part in (labeled, dataset)) if grouped else None
    sampler = JointBatchSampler(labels, len(dataset), 8, 8 * ratio, lengths=lengths)
    rows, collate = (
        ViewDataset(labeled, dataset, views, {"weak": "weak", "strong": "strong"}, "label"),
        SSLCollator(views),
    )
    padding = total = 0
    for keys in islice(sampler, batches):
        batch = collate(rows.__getitems__(keys))
        for view in (*batch["labeled"].values(), *batch["unlabeled"].values()):
            # Not by the mask, which also hides tokens of the strong view.
            padding, total = (
                padding + int((view["input_ids"] == pieces.pad_token_id).sum()),
                total + view["input_ids"].numel(),
            )
    return padding / total


@pytest.mark.parametrize(("labels", "ratio"), [(40, 1), (40, 7), (200, 1), (200, 7)])
def test_less_than_15_percent_of_ag_news_is_padding(news, labels, ratio):
    assert share_of_padding(news, labels, ratio, grouped=True, batches=50 if ratio == 1 else 20) < 0.14


def test_without_grouping_it_is_a_third(news):
    assert share_of_padding(news, 40, 1, grouped=False) > 0.3
