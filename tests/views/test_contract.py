"""What every view maker has, and what an object with fewer methods gets from the defaults."""

import pickle

import numpy as np
import pytest
import torch

from hf_ssl import SSLConfig, SSLTrainer
from hf_ssl.batches.collators import EvaluationCollator, SSLCollator
from hf_ssl.batches.dataset import ViewDataset
from hf_ssl.views import Views
from hf_ssl.views.audio import AudioViews
from hf_ssl.views.base import as_views
from hf_ssl.views.custom import CustomViews
from hf_ssl.views.image import ImageViews
from hf_ssl.views.make import check_views
from hf_ssl.views.text import TextViews

from tests.helpers.tiny_tasks import TASKS, new_model, task

MAKERS = {"image": ImageViews, "text": TextViews, "audio": AudioViews}


def maker(name):
    if name == "custom":
        return CustomViews(maker("image"), strong=lambda row: row["image"])
    return MAKERS[name](TASKS[name][1]())


@pytest.mark.parametrize("name", [*MAKERS, "custom"])
def test_every_view_maker_is_of_the_class_and_has_all_kinds_it_describes(name):
    views = maker(name)
    assert isinstance(views, Views)
    assert views.modality == ("image" if name == "custom" else name)
    assert as_views(views) is views
    assert {kind: views.problem(kind) for kind in views.describe()} == dict.fromkeys(views.describe())


class Gray(Views):
    """The least that a subclass must have."""

    modality = "image"

    def __call__(self, kind, row, rng):
        noise = rng.normal() if kind == "strong" else 0.0
        return self.evaluation(row) + noise

    def evaluation(self, row):
        return torch.full((3, 12, 12), float(np.asarray(row["image"]["pixels"]).mean()) / 255)

    def collate(self, items):
        return {"pixel_values": torch.stack(items)}


def test_the_defaults_of_a_subclass():
    views, row = Gray(), {"image": {"pixels": [51]}}
    items = [views("weak", row, np.random.default_rng(0))] * 2
    assert torch.equal(views.finish(views.stack(items))["pixel_values"], views.collate(items)["pixel_values"])
    assert views.example(row) is row
    assert (views.shares_decoding, views.problem("rotated"), views.describe()) == (False, None, {})
    with pytest.raises(TypeError, match="Gray turns no raw values into items; return a dict of model inputs"):
        views.accept("a.png")


def test_a_subclass_without_a_view_for_predictions_is_an_error_at_once():
    class Half(Views):
        def __call__(self, kind, row, rng):
            return row

        def collate(self, items):
            return {}

    with pytest.raises(TypeError, match="evaluation"):
        Half()


class Duck:
    """An object of no class of ours, with the methods that the documentation has always asked for."""

    modality = "image"

    def __init__(self, base):
        self.base = base

    def __call__(self, kind, row, rng):
        return self.base(kind, row, rng)

    def evaluation(self, row):
        return self.base.evaluation(row)

    def collate(self, items):
        return self.base.collate(items)

    def describe(self):
        return {"weak": "as a duck would see it"}


class WholeDuck(Duck):
    """One that also divides `collate`, shares decoding and knows what it cannot do."""

    shares_decoding = True

    def stack(self, items):
        return self.base.stack(items)

    def finish(self, view):
        return self.base.finish(view)

    def example(self, row):
        return self.base.example(row)

    def problem(self, kind):
        return f"no {kind}" if kind == "rotated" else None


def settings(folder):
    return SSLConfig(
        output_dir=str(folder),
        max_steps=2,
        logging_steps=1,
        per_device_train_batch_size=2,
        unlabeled_batch_ratio=2,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
        dataloader_num_workers=0,
        dataloader_pin_memory=False,
    )


@pytest.mark.parametrize("kind", [Duck, WholeDuck])
def test_an_object_with_the_methods_trains_like_the_view_maker_it_wraps(tmp_path, kind):
    losses = []
    for views in (None, kind(maker("image"))):
        run = SSLTrainer(new_model("image"), settings(tmp_path), **task("image"), views=views)
        run.train()
        losses.append([row["loss"] for row in run.state.log_history if "loss" in row])
        losses[-1].append(run.evaluate()["eval_loss"])
    assert losses[0] == losses[1]
    assert "as a duck would see it" in run.describe()


def test_an_adapted_object_is_picklable_and_keeps_what_it_has():
    views = pickle.loads(pickle.dumps(as_views(WholeDuck(maker("image")))))
    assert views.shares_decoding and views.problem("weak") is None
    with pytest.raises(ValueError, match="no rotated"):
        check_views(views, ["weak", "rotated"])
    check_views(as_views(Duck(maker("image"))), ["weak", "rotated"])


@pytest.mark.parametrize(
    "build",
    [
        SSLCollator,
        lambda views: EvaluationCollator(views, "label"),
        lambda views: ViewDataset([], [], views, {}, "label"),
    ],
    ids=["SSLCollator", "EvaluationCollator", "ViewDataset"],
)
def test_what_cannot_make_views_is_named(build):
    with pytest.raises(TypeError, match=r"views must be an hf_ssl\.views\.Views or have its methods, got a dict"):
        build({})
