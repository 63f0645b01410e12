"""What is searched before training: examples in more than one dataset; and classes without labels."""

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from hf_ssl.algorithms import ALGORITHMS
from hf_ssl.data.duplicates import SAMPLE, digest, find_duplicates, warn_of_duplicates

from tests.helpers.tiny_images import make_images
from tests.helpers.tiny_tasks import make_sounds, make_texts


@pytest.fixture
def warnings(monkeypatch):
    """What was warned of."""
    seen = []
    monkeypatch.setattr("hf_ssl.data.duplicates.logger.warning", seen.append)
    return seen


def texts(*values, **columns):
    return datasets.Dataset.from_dict({"text": list(values), **columns})


def found(*arguments, seconds=60.0):
    return {(o.name, o.other): o.places for o in find_duplicates(*arguments, ["text"], seconds).overlaps}


def test_overlaps_are_counted_with_their_places():
    labeled, pool = texts("a", "b", "c"), texts("x", "b", "y", "a", "a")
    overlaps = found(labeled, pool, {"evaluation": texts("e", "y", "c", "y")})
    assert overlaps == {
        ("labeled", "pool"): {0: 3, 1: 1},
        ("evaluation", "labeled"): {2: 2},
        ("evaluation", "pool"): {1: 2, 3: 2},
    }


def test_several_evaluation_datasets_are_told_apart():
    overlaps = found(texts("a"), None, {"evaluation one": texts("a"), "evaluation two": texts("b")})
    assert overlaps == {("evaluation one", "labeled"): {0: 0}, ("evaluation two", "labeled"): {}}


def test_a_stream_is_not_searched_and_this_is_said():
    stream = texts("a", "b").to_iterable_dataset()
    result = find_duplicates(texts("a"), stream, {"evaluation": texts("a")}, ["text"], 60.0)
    assert [(o.name, o.other, len(o.places)) for o in result.overlaps] == [("evaluation", "labeled", 1)]
    assert result.describe().endswith("; pool not searched, it is a stream")


def write(folder, dataset, column):
    """The same dataset with files instead of bytes."""
    folder.mkdir(exist_ok=True)
    paths = []
    for place, row in enumerate(dataset.with_format("arrow")[column].to_pylist()):
        path = folder / f"{place}.bin"
        path.write_bytes(row["bytes"])
        paths.append({"bytes": None, "path": str(path)})
    return datasets.Dataset.from_dict({column: paths}).cast_column(column, dataset.features[column])


@pytest.mark.parametrize(("column", "make"), [("image", make_images), ("audio", make_sounds), ("text", make_texts)])
@pytest.mark.parametrize("form", ["bytes", "files", "names"])
def test_images_sounds_and_texts_are_compared_by_content(tmp_path, column, make, form):
    pool = make(24, 1)
    labeled, test = pool.select([20, 3, 7]), datasets.concatenate_datasets([make(4, 5), pool.select([11, 12])])
    if form != "bytes" and column != "text":
        pool = write(tmp_path, pool, column)
    if form == "names" and column != "text":  # as in a table of files
        cells = write(tmp_path / "test", test, column).with_format("arrow")[column].to_pylist()
        test = datasets.Dataset.from_dict({column: [cell["path"] for cell in cells]})
    result = find_duplicates(labeled, pool, {"evaluation": test}, [column], 60.0, files=column != "text")
    places = {(o.name, o.other): o.places for o in result.overlaps}
    if column != "text":  # some of the short texts are equal by chance
        assert places[("labeled", "pool")] == {0: 20, 1: 3, 2: 7}
        assert places[("evaluation", "pool")] == {4: 11, 5: 12}
        assert places[("evaluation", "labeled")] == {}
    assert len(places[("labeled", "pool")]) == 3 and {4, 5} <= places[("evaluation", "pool")].keys()
    assert (result.share, result.unreadable) == (1.0, 0)


def test_datasets_of_other_kinds_are_compared_too():
    class Rows(torch.utils.data.Dataset):
        def __init__(self, images):
            self.images = images

        def __len__(self):
            return len(self.images)

        def __getitem__(self, place):
            return {"image": self.images[place]}

    pixels = np.random.default_rng(0).integers(0, 255, (5, 4, 4, 3), dtype=np.uint8)
    for images in (list(pixels), [Image.fromarray(p) for p in pixels], [{"array": p} for p in pixels]):
        result = find_duplicates(Rows(images[1:3]), Rows(images), {}, ["image"], 60.0)
        assert result.overlaps[0].places == {0: 1, 1: 2}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a", "b"),
        (b"a", b"b"),
        (np.zeros(2, np.uint8), np.zeros(3, np.uint8)),
        (np.zeros((2, 3)), np.zeros((3, 2))),
        (Image.new("L", (2, 3)), Image.new("L", (3, 2))),
        ([1, 2], [1, 3]),
    ],
    ids=["text", "bytes", "length", "shape", "size", "numbers"],
)
def test_digests_tell_contents_apart(first, second):
    assert digest(first) == digest(first) != digest(second)
    assert len(digest(first)) == len(digest(second)) == 16


UNREADABLE = {
    "nothing": None,
    "a missing file": {"bytes": None, "path": "/nowhere/a.png"},
    "an empty cell": {},
    "an object": object(),
    "no numbers": ["a", None],
}


@pytest.mark.parametrize("value", UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read_is_counted_and_is_not_the_same_as_anything(value):
    assert digest(value) is None


def test_unreadable_examples_do_not_match_each_other():
    missing = [{"bytes": None, "path": f"/nowhere/{i}.png"} for i in range(3)]
    pool = datasets.Dataset.from_dict({"image": missing}).cast_column("image", datasets.Image())
    result = find_duplicates(pool.select([0]), pool, {}, ["image"], 60.0)
    assert (result.overlaps[0].places, result.unreadable) == ({}, 4)
    assert "4 examples could not be read" in result.describe()


def test_of_a_large_pool_a_sample_is_read_and_this_is_said(warnings):
    """Evaluation data in the pool is found by it, however large the pool; a single example may be missed."""
    reads = []

    class Pool(list):
        def __getitem__(self, place):
            reads.append(place)
            return {"text": str(place % 60)}

    pool, evaluation = Pool([None] * 10_000), texts(*map(str, range(30)), *map(str, range(1000, 1030)))
    result = find_duplicates(texts("7", "x"), pool, {"evaluation": evaluation}, ["text"], 60.0, sample=400)
    assert len(reads) == len(set(reads)) == 400
    # Drawn evenly: half of the pool are evaluation examples, and of each tenth of it a tenth is read.
    assert np.bincount(np.asarray(reads) // 1000).min() > 20
    places = {(o.name, o.other): o.places for o in result.overlaps}
    assert places[("evaluation", "labeled")] == {7: 0}
    assert set(places[("evaluation", "pool")]) == set(range(30))
    assert all(int(place) == found % 60 for place, found in places[("evaluation", "pool")].items())
    assert set(places[("labeled", "pool")]) == {0}
    line = result.describe()
    assert "labeled examples are 1 of 400 drawn from the 10,000 of the pool; 1 of 60 evaluation in labeled;" in line
    assert "evaluation examples are 30 of 400 drawn from the 10,000 of the pool (by content" in line
    warn_of_duplicates(result, 60.0)
    assert warnings[1].startswith(
        "30 of 400 examples drawn at random from the 10,000 of the unlabeled pool, the only ones of it looked at, are "
        "also in the evaluation dataset (evaluation 0 = pool "
    )


def test_the_sample_is_the_same_each_time_and_no_more_than_it_must_be():
    pool = texts(*map(str, range(5000)))
    first, again = (find_duplicates(pool, pool, {}, ["text"], 60.0).overlaps[0] for _ in range(2))
    assert (first.looked_at, len(first.places)) == (SAMPLE, SAMPLE)
    assert first.places == again.places


def test_the_search_ends_in_time_and_says_how_far_it_came(make_trainer, warnings):
    labeled, pool = texts("a"), texts(*map(str, range(3000)))
    result = find_duplicates(labeled, pool, {}, ["text"], 0.0)
    assert result.share == 0.0
    assert "0% of them looked at" in result.describe()
    make_trainer(duplicate_check_seconds=1e-9, max_steps=1).train()
    assert ["the search for duplicates looked at 0% of what it would in the 1e-09 s" in text for text in warnings] == [
        True
    ]


# ---- In the trainer ----


def test_labeled_examples_in_the_pool_are_information_and_not_a_warning(make_trainer, images, warnings):
    trainer = make_trainer(trainer={"train_dataset": images["unlabeled"].select(range(6))}, max_steps=1)
    trainer.train()
    assert warnings == []
    for part in (
        "6 of 6 labeled in pool",
        "0 of 12 evaluation in labeled",
        "0 of 12 evaluation in pool (by content, ",
    ):
        assert part in trainer.describe()


def test_evaluation_examples_that_are_trained_on_are_warned_of(make_trainer, images, warnings):
    test = datasets.concatenate_datasets(
        [images["test"], images["labeled"].select([4]), images["unlabeled"].select([9, 2])]
    )
    make_trainer(trainer={"eval_dataset": test}, max_steps=1).train()
    assert len(warnings) == 2
    assert warnings[0].startswith(
        "1 of 15 examples of the evaluation dataset are also among the labeled ones (evaluation 12 = labeled 4): the "
        "measured"
    )
    assert warnings[1].startswith(
        "2 of 15 examples of the evaluation dataset are also in the unlabeled pool (evaluation 13 = pool 9): training "
        "sees them"
    )


def test_a_pool_that_is_never_read_is_not_searched(make_trainer, images, warnings):
    given = {"eval_dataset": images["unlabeled"].select(range(3))}
    make_trainer(trainer=given, algorithm="supervised", max_steps=1).train()
    assert warnings == []


def test_the_search_can_be_turned_off(make_trainer, images, warnings):
    trainer = make_trainer(trainer={"eval_dataset": images["labeled"]}, duplicate_check_seconds=0, max_steps=1)
    trainer.train()
    assert warnings == [] and "duplicates" not in trainer.describe()


def without_class(dataset, absent):
    return dataset.filter(lambda label: label != absent, input_columns="label")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_trains_though_a_class_has_no_labels(make_trainer, images, algorithm):
    trainer = make_trainer(
        trainer={"train_dataset": without_class(images["labeled"], 2)},
        algorithm=algorithm,
        algorithm_kwargs=None,
        max_steps=3,  # one for each round of noisy_student
    )
    trainer.train()
    assert trainer.state.global_step == 3
    assert all(torch.isfinite(p).all() for p in trainer.model.parameters())


def test_a_labeled_set_smaller_than_the_batch_is_cycled(make_trainer, images):
    trainer = make_trainer(
        trainer={"train_dataset": images["labeled"].select(range(3))}, per_device_train_batch_size=8
    )
    batch = next(iter(trainer.get_train_dataloader()))
    counts = torch.bincount(batch["labeled_index"])
    assert sorted(counts.tolist()) == [2, 3, 3]
    trainer.train()
    assert trainer.state.global_step == 4


def test_pairs_of_texts_are_the_same_if_both_texts_are():
    first = datasets.Dataset.from_dict({"premise": ["a", "a", "b"], "hypothesis": ["x", "y", "x"]})
    second = datasets.Dataset.from_dict({"premise": ["a", "b"], "hypothesis": ["x", "y"]})
    (overlap,) = find_duplicates(first, second, {}, ["premise", "hypothesis"], 60.0).overlaps
    assert overlap.places == {0: 0}
