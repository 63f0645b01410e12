"""Missing or broken files of the pool: replaced and counted, or named; the same in workers and after resuming."""

import io

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from hf_ssl.batches.collators import SSLCollator
from hf_ssl.batches.dataset import ViewDataset
from hf_ssl.batches.sampler import ExampleKey
from hf_ssl.data.columns import inspect_data
from hf_ssl.data.prepare import prepare_evaluation
from hf_ssl.data.rows import BrokenFiles
from hf_ssl.errors import BrokenExampleError
from hf_ssl.views.text import TextViews

from tests.helpers.tiny_images import make_images, make_vit
from tests.helpers.tiny_tasks import tokenizer


class Views:
    """A row is a number; negative ones are broken."""

    def __call__(self, kind, row, rng):
        if row["x"] < 0:
            raise BrokenExampleError(f"cannot read {-row['x']}.png")
        return (row["x"], float(rng.random()))

    def collate(self, items):
        return {"x": torch.tensor([item[0] for item in items])}


def dataset(pool, skip=True, labeled=(1, 2)):
    rows = [[{"x": x, "label": 0} for x in numbers] for numbers in (labeled, pool)]
    return ViewDataset(*rows, Views(), {"weak": "weak", "strong": "strong"}, "label", seed=3, skip_broken=skip)


POOL = [10, -11, 12, 13, -14, 15]


def test_another_example_takes_the_place_and_says_whose():
    item = dataset(POOL)[ExampleKey(False, 1, 0, 0)]
    assert item["broken"][0] == 1
    assert POOL[item["key"].index] == item["weak"][0] > 0
    # The random numbers stay those of the draw, so that the other example's own draw differs.
    assert item["weak"][1] == ExampleKey(False, 1, 0, 0).generator(3, 0).random()


def test_the_replacement_is_a_function_of_the_draw():
    chosen = {epoch: dataset(POOL)[ExampleKey(False, 1, epoch, 0)]["key"].index for epoch in range(20)}
    assert chosen == {epoch: dataset(POOL)[ExampleKey(False, 1, epoch, 0)]["key"].index for epoch in range(20)}
    assert set(chosen.values()) == {0, 2, 3, 5}
    others = dataset(POOL).__getitems__([ExampleKey(False, i, 0, 0) for i in (0, 1, 2)])
    assert others[1] == dataset(POOL)[ExampleKey(False, 1, 0, 0)]
    assert [item.get("broken") for item in (others[0], others[2])] == [None, None]


def test_a_pool_that_is_broken_altogether_is_an_error():
    with pytest.raises(
        BrokenExampleError, match=r"20 examples .* in a row cannot be read; the first, row 1: .* 11\.png"
    ):
        dataset([-10, -11, -12])[ExampleKey(False, 1, 0, 0)]


@pytest.mark.parametrize(
    ("key", "skip", "message"),
    [
        (ExampleKey(False, 1, 0, 0), False, r"row 1 of the unlabeled dataset: cannot read 11\.png"),
        (ExampleKey(True, 1, 0, 0), True, r"row 1 of the labeled dataset: cannot read 5\.png"),
    ],
)
def test_errors_name_the_file(key, skip, message):
    with pytest.raises(BrokenExampleError, match=message):
        dataset(POOL, skip, labeled=(1, -5))[key]


def test_the_batch_holds_the_positions_only_if_there_are_any():
    pool = dataset(POOL)
    keys = [ExampleKey(True, 0, 0, 0), *(ExampleKey(False, i, 0, 0) for i in (0, 1, 4))]
    batch = SSLCollator(Views())(pool.__getitems__(keys))
    broken = batch["broken_index"].tolist()
    assert {1, 4} <= set(broken) <= {1, 4}
    assert batch["unlabeled_index"].tolist()[0] == 0
    assert not {1, 4} & set(batch["unlabeled_index"].tolist())
    assert batch["unlabeled"].keys() == {"weak", "strong"}
    assert "broken_index" not in SSLCollator(Views())(pool.__getitems__(keys[:2]))


def test_warnings_name_five_files_and_then_stop(caplog, monkeypatch):
    warned = []
    monkeypatch.setattr("hf_ssl.data.rows.logger.warning", warned.append)
    files = BrokenFiles(datasets.Dataset.from_dict({"file": [f"{i}.png" for i in range(9)]}), "file")
    assert files.note([3, 3, 4]) == 3
    files.note(list(range(9)))
    assert len(warned) == 6
    assert warned[0].startswith("3.png cannot be read")
    assert files.names[8] == "8.png"


def png(number=0):
    buffer = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 255, (12, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.fixture
def pool(tmp_path):
    """24 files: one is cut off, one a text, one is not there."""
    paths = []
    for i in range(24):
        paths.append(str(tmp_path / f"{i}.png"))
        content = {5: png(i)[:60], 11: b"not an image"}.get(i, png(i))
        if i != 17:
            (tmp_path / f"{i}.png").write_bytes(content)
    return datasets.Dataset.from_dict({"image": paths}).cast_column("image", datasets.Image())


@pytest.mark.parametrize("workers", [0, 1])
def test_training_goes_on_and_counts_them(make_trainer, pool, workers):
    trainer = make_trainer(trainer={"unlabeled_dataset": pool}, max_steps=12, dataloader_num_workers=workers)
    trainer.train()
    rows = [row for row in trainer.state.log_history if "loss" in row]
    assert len(rows) == 12
    # Two epochs meet each broken file at least once each.
    assert sum(row.get("broken_files", 0) for row in rows) >= 6
    assert all(row.get("broken_files", 1) > 0 for row in rows)
    names = {name.rpartition("/")[2] for name in trainer.broken_files.names.values()}
    assert names == {"5.png", "11.png", "17.png"}


def test_resuming_replaces_them_alike(make_trainer, pool):
    config = {"max_steps": 6, "save_strategy": "steps", "save_steps": 3}
    whole = make_trainer(trainer={"unlabeled_dataset": pool}, **config)
    whole.train()
    resumed = make_trainer(make_vit(seed=7), trainer={"unlabeled_dataset": pool}, **config)
    resumed.train(resume_from_checkpoint=f"{whole.args.output_dir}/checkpoint-3")
    for (name, first), second in zip(
        whole.model.state_dict().items(), resumed.model.state_dict().values(), strict=True
    ):
        assert torch.equal(first, second), name


@pytest.mark.parametrize("workers", [0, 1])
def test_error_mode_names_the_file(make_trainer, pool, workers):
    with pytest.raises(ValueError, match=r"the unlabeled dataset names .*17\.png, and there is no such file"):
        make_trainer(trainer={"unlabeled_dataset": pool}, on_broken_file="error")
    there = pool.select([i for i in range(24) if i not in (11, 17)])
    trainer = make_trainer(
        trainer={"unlabeled_dataset": there}, on_broken_file="error", dataloader_num_workers=workers, max_steps=6
    )
    with pytest.raises(BrokenExampleError, match=r"^row 5 of the unlabeled dataset: cannot read .*5\.png: ") as error:
        trainer.train()
    assert "\n" not in str(error.value)


def test_a_broken_test_file_is_an_error_with_its_name(make_trainer, tmp_path):
    # Cut off after its header, which is all that is looked at before.
    (tmp_path / "bad.png").write_bytes(png()[:-30])
    test = datasets.Dataset.from_dict({"image": [str(tmp_path / "bad.png")], "label": [1]})
    trainer = make_trainer(trainer={"eval_dataset": test.cast_column("image", datasets.Image())})
    with pytest.raises(BrokenExampleError, match=r"in the evaluation dataset: cannot read .*bad\.png"):
        trainer.evaluate()


def test_a_row_without_a_text_is_replaced_too():
    rows = [{"text": "red sky"}, {"text": None}, {"text": "blue sea"}]
    views = ViewDataset(rows, rows, TextViews(tokenizer()), {"weak": "weak"}, "label", skip_broken=True)
    item = views[ExampleKey(False, 1, 0, 0)]
    assert item["broken"][0] == 1 and item["key"].index in (0, 2)


def test_an_error_of_a_worker_is_its_last_line():
    message = (
        "Caught BrokenExampleError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
    )
    assert (
        str(BrokenExampleError(f"{message}hf_ssl.errors.BrokenExampleError: cannot read a.png\n"))
        == "cannot read a.png"
    )


def test_evaluation_data_are_opened_without_reading_images():
    data = inspect_data(make_images(3, 0))
    assert isinstance(prepare_evaluation(make_images(3, 1), data, False)[0]["image"], dict)
