"""One preprocessing of texts: the model gets the same tensors in training, in evaluation and in use."""

import copy

import datasets
import numpy as np
import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    FNetConfig,
    FNetForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
    pipeline,
)

from hf_ssl import SSLTrainer
from hf_ssl.cli.classifier import Classifier
from hf_ssl.features import FeatureBank
from hf_ssl.views.text import TextViews

from tests.helpers.model_inputs import assert_same, inputs_of, short_settings, training_inputs, without_padding
from tests.helpers.tiny_tasks import new_model, task, text_model
from tests.helpers.word_tokenizer import WORDS, make_tokenizer

SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


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
        short_settings(folder, **{"algorithm": "supervised"} | more),
        train_dataset=labeled,
        unlabeled_dataset=labeled,
        eval_dataset=sentences(9, 1, pair=pair),
        processing_class=tokenizer,
    )


CUT = {"truncation": True}
TOKENIZERS = {
    "as it is": {},
    "truncation left": {"truncation_side": "left"},
    "limit 20": {"model_max_length": 20},
    "limit 4": {"model_max_length": 4},
    "no types": {"model_input_names": ["input_ids", "attention_mask"]},
    "no mask": {"model_input_names": ["input_ids", "token_type_ids"]},
}


@pytest.mark.parametrize(
    ("pair", "max_length"), [(False, None), (False, 9), (True, 9)], ids=["text", "cut text", "cut pair"]
)
@pytest.mark.parametrize("attributes", TOKENIZERS.values(), ids=TOKENIZERS)
def test_texts_are_the_same_tensors_in_every_way(tmp_path, attributes, max_length, pair):
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


@pytest.mark.parametrize(("made", "called", "tokens"), [({}, {}, 22), (CUT, {}, 9), ({}, CUT, 9)])
def test_pipelines_cut_texts_only_when_asked(tmp_path, made, called, tokens):
    """Why the model card's line has `truncation=True`: a plain pipeline gives all tokens to the model."""
    text_trainer(tmp_path / "run", make_tokenizer(), max_length=9).save_model(tmp_path / "model")
    use = pipeline("text-classification", str(tmp_path / "model"), device="cpu", **made)
    (example,) = inputs_of(use.model, lambda: use(" ".join(WORDS[:20]), **called))
    assert len(example["input_ids"]) == tokens


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
        short_settings(tmp_path / "run", algorithm="fixmatch", max_length=max_length),
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
        "every token of the tokenizer must have an embedding in the model, got 45 embeddings and the token '<one>' "
        "with id 45 and 1 more; call model.resize_token_embeddings(len(tokenizer)) and give the model as an object, "
        "or use the model's own tokenizer"
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
            short_settings(tmp_path),
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
        short_settings(tmp_path, algorithm="fixmatch", token_mask_ratio=0.5),
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
        SSLTrainer(bert(32), short_settings(tmp_path), **given, views=TextViews(make_tokenizer(), max_length=40))
    trainer = SSLTrainer(bert(32), short_settings(tmp_path), **given, views=TextViews(make_tokenizer(), max_length=12))
    assert trainer.processing_class.model_max_length == 12


def test_a_processor_that_fits_already_stays_the_same_object(tmp_path):
    given = task("text")
    trainer = SSLTrainer(text_model(), short_settings(tmp_path), **given)
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


def test_an_example_that_is_made_otherwise_is_found_before_the_first_step(tmp_path, monkeypatch):
    original = TextViews.evaluation
    monkeypatch.setattr(TextViews, "evaluation", lambda s, r: {n: v[::-1] for n, v in original(s, r).items()})
    with pytest.raises(
        ValueError, match=r"input_ids, .* must be what the tokenizer makes of a text, got other values"
    ):
        SSLTrainer(new_model("text"), short_settings(tmp_path), **task("text"))
