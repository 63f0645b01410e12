"""What `total_flos` and `num_input_tokens_seen` count of joint batches, and arguments in Trainer's order."""

import inspect

import pytest
from transformers import Trainer

from hf_ssl import SSLConfig, SSLTrainer
from hf_ssl.training.counting import views_of

from tests.helpers.tiny_tasks import new_model, task


def config(folder, **more):
    settings = {"max_steps": 2, "per_device_train_batch_size": 2, "unlabeled_batch_ratio": 3, "save_strategy": "no"}
    settings |= {"use_cpu": True, "report_to": "none", "disable_tqdm": True, "dataloader_num_workers": 0}
    return SSLConfig(str(folder), **{**settings, **more})


@pytest.mark.parametrize(("algorithm", "views"), [("supervised", 1), ("fixmatch", 3)])
@pytest.mark.parametrize("modality", ["text", "image"])
def test_operations_are_those_of_all_views(algorithm, views, modality, tmp_path):
    trainer = SSLTrainer(new_model(modality), config(tmp_path, algorithm=algorithm), **task(modality))
    batches = [batch for batch, _ in zip(trainer.get_train_dataloader(), range(2), strict=False)]
    name = "input_ids" if modality == "text" else "pixel_values"
    elements = [view[name].numel() for batch in batches for view in views_of(batch)]
    assert len(elements) == 2 * views
    if modality == "image":
        # Labeled images of 12 x 12 in three colors, and three times as many of the pool in each of two views.
        assert sum(elements) == 2 * 3 * 144 * 2 * (1 + 3 * (views - 1))
    trainer.train()
    expected = 6 * sum(elements) * trainer.model.num_parameters(exclude_embeddings=True)
    assert trainer.state.total_flos == expected > 0


@pytest.mark.parametrize("kind", ["all", "non_padding"])
def test_tokens_are_those_of_all_views(kind, tmp_path):
    given = config(tmp_path, include_num_input_tokens_seen=kind)
    trainer = SSLTrainer(new_model("text"), given, **task("text"))
    batches = [batch for batch, _ in zip(trainer.get_train_dataloader(), range(2), strict=False)]
    name = "attention_mask" if kind == "non_padding" else "input_ids"
    views = [view[name] for batch in batches for view in views_of(batch)]
    expected = sum(int(view.sum()) if kind == "non_padding" else view.numel() for view in views)
    trainer.train()
    assert trainer.state.num_input_tokens_seen == expected > 0


def test_arguments_are_taken_in_trainer_s_order():
    def positional(cls):
        kinds = inspect.signature(cls.__init__).parameters.values()
        return [each.name for each in kinds if each.kind is each.POSITIONAL_OR_KEYWORD]

    assert positional(SSLTrainer) == positional(Trainer)


def test_a_model_and_all_others_may_be_given_by_position(tmp_path):
    given, functions = task("text"), (None, None, lambda prediction: {"n": len(prediction.label_ids)})
    sets = given["train_dataset"], given["eval_dataset"], given["processing_class"]
    pool = given["unlabeled_dataset"]
    trainer = SSLTrainer(new_model("text"), config(tmp_path), None, *sets, *functions, None, unlabeled_dataset=pool)
    assert trainer.evaluate()["eval_n"] == 6


@pytest.mark.slow
@pytest.mark.parametrize("context", ["spawn", "forkserver"])
def test_workers_start_as_they_are_told_and_make_the_same_batches(context, tmp_path):
    batches = []
    for more in ({}, {"dataloader_num_workers": 1, "dataloader_multiprocessing_context": context}):
        trainer = SSLTrainer(new_model("text"), config(tmp_path, **more), **task("text"))
        loader = trainer.get_train_dataloader()
        batches.append(next(iter(loader)))
        if more:
            assert loader.base_dataloader.multiprocessing_context.get_start_method() == context
    for first, second in zip(*map(views_of, batches), strict=True):
        assert all(first[name].equal(second[name]) for name in first)
