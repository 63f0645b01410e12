"""SSLTrainer end to end on tiny models: what is trained, logged, evaluated and saved."""

import multiprocessing

import datasets
import pytest
import torch
from transformers import AutoModelForImageClassification, TrainerCallback

from hf_ssl import AlgorithmOutput, SSLAlgorithm, losses

from tests.helpers.tiny_images import make_images, make_vit
from tests.helpers.tiny_tasks import new_model, task


def weights(model):
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_a_step_logs_the_terms_of_the_loss(make_trainer):
    trainer = make_trainer()
    trainer.train()
    rows = [row for row in trainer.state.log_history if "loss" in row]
    assert len(rows) == 4
    for row in rows:
        assert row["loss"] == pytest.approx(row["supervised"] + row["unsupervised"], rel=1e-5)
        assert 0 <= row["mask_ratio"] <= 1
        assert 0 <= row["pseudo_label_accuracy"] <= 1


def test_the_unsupervised_weight_scales_its_term(make_trainer):
    trainer = make_trainer(unsupervised_weight=0.25, max_steps=1)
    trainer.train()
    row = trainer.state.log_history[0]
    assert row["loss"] == pytest.approx(row["supervised"] + 0.25 * row["unsupervised"], rel=1e-5)


def test_the_metric_of_hidden_labels_is_their_agreement(make_trainer, images):
    """All pool labels set to class c: the accuracies of the three runs sum to 1, and training is the same."""
    accuracies, finals = [], []
    for label in range(3):
        pool = images["unlabeled"].remove_columns("label").add_column("label", [label] * len(images["unlabeled"]))
        trainer = make_trainer(trainer={"unlabeled_dataset": pool}, max_steps=1)
        trainer.train()
        accuracies.append(trainer.state.log_history[0].get("pseudo_label_accuracy", 0.0))
        finals.append(weights(trainer.model))
    assert sum(accuracies) == pytest.approx(1.0)
    assert same(finals[0], finals[1]) and same(finals[0], finals[2])


def test_a_pool_without_labels_trains_the_same_and_logs_no_accuracy(make_trainer, images):
    with_labels, without = make_trainer(), None
    with_labels.train()
    without = make_trainer(trainer={"unlabeled_dataset": images["unlabeled"].remove_columns("label")})
    without.train()
    assert same(weights(with_labels.model), weights(without.model))
    assert not any("pseudo_label_accuracy" in row for row in without.state.log_history)


def test_two_runs_are_equal_and_another_seed_is_not(make_trainer):
    runs = []
    for seed in (1, 1, 2):
        trainer = make_trainer(seed=seed)
        trainer.train()
        runs.append(weights(trainer.model))
    assert same(runs[0], runs[1])
    assert not same(runs[0], runs[2])


@pytest.mark.parametrize("workers", [0, 1])
def test_workers_do_not_change_the_views(make_trainer, workers):
    trainer = make_trainer(dataloader_num_workers=workers, max_steps=2)
    batch = next(iter(trainer.get_train_dataloader()))
    expected = next(iter(make_trainer().get_train_dataloader()))
    assert torch.equal(batch["unlabeled"]["strong"]["pixel_bytes"], expected["unlabeled"]["strong"]["pixel_bytes"])


@pytest.mark.parametrize("resumed", [False, True], ids=["from the start", "resumed"])
def test_workers_end_with_the_training(make_trainer, resumed):
    """The garbage collector would wait five seconds for each, those of evaluations as well."""
    run = {"dataloader_num_workers": 1, "max_steps": 3, "save_strategy": "steps", "save_steps": 2}
    run |= {"eval_strategy": "steps", "eval_steps": 2, "dataloader_persistent_workers": True}
    make_trainer(**run).train()
    trainer = make_trainer(**run)
    trainer.train(resume_from_checkpoint=resumed)
    assert multiprocessing.active_children() == []
    # And start again with the next one.
    trainer.train()
    assert trainer.state.global_step == 3


def test_accumulated_batches_give_the_gradient_of_the_large_batch(make_trainer):
    """One SGD step in float64: batch 4 x 1 = 2 x 2 = 1 x 4."""
    finals = []
    for batch, accumulation in ((4, 1), (2, 2), (1, 4)):
        trainer = make_trainer(
            make_vit().double(),
            per_device_train_batch_size=batch,
            gradient_accumulation_steps=accumulation,
            max_steps=2,
            optim="sgd",
            max_grad_norm=0.0,
        )
        cast = trainer.views.finish
        trainer.views.finish = lambda view, cast=cast: {k: v.double() for k, v in cast(view).items()}
        trainer.train()
        finals.append(weights(trainer.model))
    for other in finals[1:]:
        for name in finals[0]:
            assert torch.allclose(finals[0][name], other[name], rtol=1e-9, atol=1e-12), name


def test_evaluation_and_saving_use_the_average_if_the_role_says_so(make_trainer, tmp_path):
    trainer = make_trainer(ema_role="evaluation", ema_decay=0.5)
    trainer.train()
    student, average = weights(trainer.model), trainer.ema.state_dict()
    assert not same(student, {name: average[name] for name in student})
    measured = trainer.evaluate()["eval_loss"]
    assert same(student, weights(trainer.model))
    trainer.save_model(str(tmp_path / "saved"))
    loaded = AutoModelForImageClassification.from_pretrained(tmp_path / "saved")
    assert same(weights(loaded), {name: average[name] for name in weights(loaded)})
    assert make_trainer(loaded).evaluate()["eval_loss"] == pytest.approx(measured, rel=1e-6)


def test_the_average_is_updated_once_per_step(make_trainer):
    steps = []

    class Record(TrainerCallback):
        def on_step_end(self, args, state, control, model=None, **kwargs):
            steps.append(model.classifier.bias.detach().clone())

    start = make_vit().classifier.bias.detach().clone()
    trainer = make_trainer(
        ema_role="evaluation", ema_decay=0.9, gradient_accumulation_steps=2, trainer={"callbacks": [Record()]}
    )
    trainer.train()
    average = start
    for value in steps:
        average = 0.9 * average + 0.1 * value
    assert len(steps) == 4
    assert torch.allclose(trainer.ema.module.classifier.bias, average, atol=1e-7)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("at", [3, 6, 8])
def test_resuming_continues_bit_for_bit(make_trainer, at, workers):
    """12 steps, 6 an epoch: stopped in the middle of an epoch, at its end, and in the second one."""
    config = {"max_steps": 12, "ema_role": "evaluation", "ema_decay": 0.9, "dataloader_num_workers": workers}
    config |= {"save_strategy": "steps", "save_steps": at}
    whole = make_trainer(**config)
    whole.train()
    checkpoint = f"{whole.args.output_dir}/checkpoint-{at}"
    resumed = make_trainer(make_vit(seed=7), **config)
    resumed.train(resume_from_checkpoint=checkpoint)
    assert same(weights(whole.model), weights(resumed.model))
    assert same(whole.ema.state_dict(), resumed.ema.state_dict())
    for row, again in zip(
        [r for r in whole.state.log_history if "loss" in r],
        [r for r in resumed.state.log_history if "loss" in r],
        strict=True,
    ):
        assert {k: row[k] for k in ("loss", "supervised", "step")} == {
            k: again[k] for k in ("loss", "supervised", "step")
        }


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "ssl_student.safetensors").unlink(), r"ssl_student\.safetensors is missing"),
        (
            lambda folder: (folder / "ssl_algorithm.safetensors").write_bytes(b"\x10"),
            r"ssl_algorithm\.safetensors is damaged",
        ),
    ],
)
def test_an_incomplete_checkpoint_is_refused(make_trainer, tmp_path, damage, message):
    trainer = make_trainer(max_steps=2, save_strategy="steps", save_steps=2)
    trainer.train()
    folder = tmp_path / "run" / "checkpoint-2"
    damage(folder)
    with pytest.raises(ValueError, match=message):
        make_trainer(max_steps=4).train(resume_from_checkpoint=str(folder))


def test_a_checkpoint_of_another_algorithm_is_refused(make_trainer, tmp_path):
    make_trainer(max_steps=2, save_strategy="steps", save_steps=2).train()
    other = make_trainer(algorithm="supervised", max_steps=4)
    with pytest.raises(ValueError, match="belongs to the algorithm 'fixmatch' and this run trains 'supervised'"):
        other.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-2"))


def test_the_best_model_is_the_one_that_was_evaluated(make_trainer):
    trainer = make_trainer(
        max_steps=7,
        learning_rate=0.5,
        lr_scheduler_type="constant",
        eval_strategy="steps",
        eval_steps=1,
        save_strategy="steps",
        save_steps=1,
        load_best_model_at_end=True,
        metric_for_best_model="loss",
    )
    trainer.train()
    losses_seen = [row["eval_loss"] for row in trainer.state.log_history if "eval_loss" in row]
    assert min(losses_seen) < losses_seen[-1]
    assert trainer.evaluate()["eval_loss"] == pytest.approx(min(losses_seen), rel=1e-5)


def test_a_model_by_path_gets_the_dataset_s_classes(make_trainer, tmp_path):
    make_vit().save_pretrained(tmp_path / "model")
    trainer = make_trainer(str(tmp_path / "model"), max_steps=1)
    assert trainer.model.config.id2label == {0: "dark", 1: "middle", 2: "bright"}
    trainer.train()


def test_the_block_is_the_same_before_the_training(make_trainer):
    trainer = make_trainer()
    before = trainer.describe().splitlines()
    trainer.train()
    after = trainer.describe().splitlines()
    assert before == [line for line in after if not line.startswith("  duplicates")]


def test_the_old_name_of_the_processor_is_refused_with_the_new_one(make_trainer, image_processor):
    with pytest.raises(TypeError, match=r"^tokenizer was renamed processing_class; give the same object"):
        make_trainer(trainer={"processing_class": None, "tokenizer": image_processor})


def test_a_model_that_is_neither_here_nor_on_a_hub_in_reach_is_refused_at_once(make_trainer, monkeypatch):
    monkeypatch.setattr("hf_ssl.trainer.load_processor", None)
    with pytest.raises(
        ValueError, match=r"^a model must be a folder or a Hub id, got nosuchmodel, but the Hub cannot"
    ) as error:
        make_trainer("nosuchmodel", trainer={"processing_class": None})
    assert "\n" not in str(error.value)


def test_the_block_at_the_start_names_sizes_batches_and_passes(make_trainer, capsys):
    trainer = make_trainer(disable_tqdm=False, gradient_accumulation_steps=2)
    trainer.train()
    block = capsys.readouterr().out
    for part in (
        "fixmatch (threshold=0.2, hard_labels=True",
        "6 examples, 3 classes, 2 per class",
        "24 examples, with hidden labels (used for the accuracy of pseudo-labels only)",
        "4 labeled + 8 unlabeled per step (1 device, 2 passes)",
        "4, 1.3 passes over the pool",
        "12 x 12 pixels",
    ):
        assert part in block, part


class LabeledOnly(SSLAlgorithm):
    """A user's algorithm with a head."""

    views = {"weak": "weak"}

    def __init__(self, *, scale: float = 1.0, **task):
        super().__init__(**task)
        self.scale = scale
        self.extra = torch.nn.Linear(self.feature_size, self.num_classes)

    def forward(self, model, batch, progress):
        features = model(labeled=batch.labeled)["labeled"].features
        loss = self.scale * losses.cross_entropy(self.extra(features), batch.labels)
        return AlgorithmOutput(loss, {"supervised": loss.detach()})


def test_a_custom_algorithm_needs_no_registration(make_trainer):
    trainer = make_trainer(trainer={"algorithm": LabeledOnly}, algorithm_kwargs={"scale": 2.0})
    before = weights(trainer.algorithm)
    trainer.train()
    after = weights(trainer.algorithm)
    assert trainer.algorithm.scale == 2.0
    assert not torch.equal(before["extra.weight"], after["extra.weight"])
    assert all(parameter.grad is None for parameter in trainer.algorithm.parameters())


WRONG = [
    ({"config": {"algorithm": "fixmatc"}}, ValueError, "unknown algorithm 'fixmatc'; the known ones are .*fixmatch"),
    (
        {"config": {"algorithm_kwargs": {"treshold": 0.9}}},
        TypeError,
        "no setting treshold; its settings are threshold",
    ),
    ({"trainer": {"processing_class": None}}, ValueError, "needs the model's image processor"),
    ({"trainer": {"unlabeled_dataset": make_images(4, 0).select([])}}, ValueError, "the unlabeled dataset is empty"),
    (
        {"trainer": {"unlabeled_dataset": datasets.Dataset.from_dict({"text": ["a"]})}},
        ValueError,
        "the unlabeled dataset has no column 'image'; its columns are text",
    ),
    (
        {"trainer": {"eval_dataset": make_images(3, 0, labeled=False)}},
        ValueError,
        "no column 'label'; its columns are image",
    ),
]


@pytest.mark.parametrize(("given", "error", "message"), WRONG, ids=[row[2][:30] for row in WRONG])
def test_wrong_input_is_one_clear_line(make_trainer, given, error, message):
    with pytest.raises(error, match=message) as raised:
        make_trainer(trainer=given.get("trainer"), **given.get("config", {}))
    assert "\n" not in str(raised.value)


def test_a_head_of_the_wrong_size_is_refused(make_trainer):
    model = make_vit()
    model.config.num_labels = 5
    with pytest.raises(ValueError, match="predicts 5 classes and the labeled dataset has 3"):
        make_trainer(model)


def test_the_unsupervised_term_s_factor_rises_over_its_warm_up(make_trainer):
    trainer = make_trainer(
        algorithm="pseudo_label",
        algorithm_kwargs={"threshold": 0.1, "warmup_fraction": 0.0},
        unsupervised_weight=0.5,
        unsupervised_warmup_steps=4,
        max_steps=6,
        logging_steps=1,
    )
    trainer.train()
    lines = [line for line in trainer.state.log_history if "supervised" in line]
    factors = [(line["loss"] - line["supervised"]) / line["unsupervised"] for line in lines]
    assert factors == pytest.approx([0.0, 0.125, 0.25, 0.375, 0.5, 0.5], abs=1e-3)


@pytest.mark.parametrize("tokenized", [False, True], ids=["texts", "tokens"])
def test_evaluation_keeps_the_order_of_the_rows_if_training_groups_them_by_length(make_trainer, tokenized):
    given = task("text")
    if tokenized:
        given = {name: tokenized_rows(rows) if "dataset" in name else rows for name, rows in given.items()}
    found = []
    for strategy in ("random", "group_by_length"):
        trainer = make_trainer(
            new_model("text"), trainer=given, train_sampling_strategy=strategy, per_device_eval_batch_size=2
        )
        prediction = trainer.predict(given["eval_dataset"])
        found.append((trainer.evaluate()["eval_loss"], prediction.predictions.tolist(), prediction.label_ids.tolist()))
    assert found[0][1:] == found[1][1:]
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-6)
    assert found[1][2] == given["eval_dataset"]["label"]


def tokenized_rows(rows):
    tokenizer = task("text")["processing_class"]
    return rows.map(lambda row: tokenizer(row["text"])).remove_columns("text")
