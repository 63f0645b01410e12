"""SSLTrainer with `open_set`: what is drawn, logged, said, saved and resumed."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from hf_ssl import SSLConfig, SSLTrainer
from hf_ssl.batches.sampler import JointBatchSampler
from hf_ssl.features.foreignness import FILE, Foreignness
from hf_ssl.report.results import result_of

from tests.helpers import open_set_processes
from tests.helpers.foreign_pool import make_trainer, rows
from tests.helpers.launching import ROOT, launch

FOREIGN = set(range(24, 36))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr("hf_ssl.features.bank.default_cache", lambda: tmp_path / "features")


def drawn_in(trainer):
    """Positions of all pool examples that training drew."""
    seen = set()
    trainer.algorithm.register_forward_hook(lambda _, inputs, __: seen.update(inputs[1].unlabeled_index.tolist()))
    trainer.train()
    return seen


def weights(trainer):
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


def test_dropped_examples_are_never_drawn_and_all_others_are(tmp_path):
    trainer = make_trainer(tmp_path, max_steps=12)
    seen = drawn_in(trainer)
    foreign = set(trainer.foreign_rows.tolist())
    assert foreign >= FOREIGN and len(foreign - FOREIGN) <= 4
    assert seen == set(range(36)) - foreign
    assert trainer.open_set.dropped == len(foreign) and len(trainer.labeled_of_round) == 10


def test_a_report_changes_nothing_that_is_trained(tmp_path):
    plain, told = make_trainer(tmp_path / "a", None), make_trainer(tmp_path / "b", "report")
    assert drawn_in(told) == drawn_in(plain)
    torch.testing.assert_close(weights(told), weights(plain), rtol=0, atol=0)
    assert plain.open_set is None and told.open_set.dropped == 0


def test_the_log_the_block_the_row_and_the_card_say_it(tmp_path):
    trainer = make_trainer(tmp_path)
    trainer.train()
    count = len(trainer.foreign_rows)
    lines = [line for line in trainer.state.log_history if "foreign_ratio" in line]
    assert [line["step"] for line in lines] == [2, 6]
    assert lines[0]["foreign_ratio"] == pytest.approx(count / 36) and lines[0]["foreign_auroc"] == 1.0
    sentence = f"{count} of 36 pool examples look foreign ({100 * count / 36:.1f} %) and are left out"
    assert f"open set        drop: {sentence}; to the trained model " in trainer.describe()
    row = result_of(trainer.run_facts(), 1.0)
    assert (row["foreign_examples"], row["foreign_dropped"]) == (count, count)
    assert row["foreign_ratio"] == pytest.approx(count / 36) and row["foreign_auroc_at_end"] > 0.9
    trainer.save_model()
    trainer.create_model_card()
    card = (tmp_path / "README.md").read_text()
    assert sentence.replace("(", "").split(" 36")[0] in card and "--foreign-threshold auto" in card
    assert "open_set" in json.loads((tmp_path / "ssl_config.json").read_text())
    assert not (tmp_path / "open_set_features").exists()


def test_without_it_nothing_is_said(tmp_path):
    trainer = make_trainer(tmp_path, None)
    (tmp_path / FILE).write_text("of an earlier model in this folder")
    trainer.train()
    trainer.save_model()
    trainer.create_model_card()
    assert "open set" not in trainer.describe() and not (tmp_path / FILE).exists()
    assert not any(name.startswith("foreign") for name in result_of(trainer.run_facts(), 1.0))
    assert "--foreign-threshold" not in (tmp_path / "README.md").read_text()


def test_what_is_saved_tells_foreign_examples_by_the_trained_model(tmp_path):
    trainer = make_trainer(tmp_path, "report", max_steps=20, save_strategy="steps", save_steps=10)
    trainer.train()
    trainer.save_model()
    saved, pool = Foreignness.load(tmp_path / FILE), torch.tensor(rows((5, 5, 5), 7)["pixel_values"])
    model = trainer.model
    scores = saved.scores((pool + model.body(pool)).detach().numpy())
    assert (scores[10:] > saved.limit).all() and (scores[:10] > saved.limit).sum() <= 4
    # In the middle of a training nobody has looked with the model as it is.
    assert not (tmp_path / "checkpoint-10" / FILE).exists()


@pytest.mark.parametrize("mode", ["report", "drop"])
def test_a_resumed_run_goes_on_bit_for_bit_without_another_look(mode, tmp_path, monkeypatch):
    saving = {"max_steps": 8, "save_strategy": "steps", "save_steps": 3}
    whole = make_trainer(tmp_path, mode, **saving)
    whole.train()
    resumed = make_trainer(tmp_path, mode, **saving)
    with torch.no_grad():
        # Another look would see other features.
        resumed.model.body.weight.add_(5 * torch.randn_like(resumed.model.body.weight))
    monkeypatch.setattr(resumed, "look_for_foreign", lambda reading: pytest.fail("looked again"))
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    torch.testing.assert_close(weights(resumed), weights(whole), rtol=0, atol=0)
    assert resumed.foreign_rows.tolist() == whole.foreign_rows.tolist() and resumed.open_set == whole.open_set


@pytest.mark.parametrize(("before", "after"), [("drop", None), (None, "drop"), ("report", "drop")])
def test_a_checkpoint_of_another_setting_is_refused(before, after, tmp_path):
    make_trainer(tmp_path, before, max_steps=2, save_strategy="steps", save_steps=2).train()
    other = make_trainer(tmp_path, after, max_steps=4)
    with pytest.raises(ValueError, match=rf"open_set={after!r}, got one with {before!r}; resume with that"):
        other.train(resume_from_checkpoint=True)


def test_a_second_training_looks_again(tmp_path):
    trainer = make_trainer(tmp_path)
    trainer.train()
    first = trainer.open_set
    with torch.no_grad():
        trainer.model.body.weight.zero_()
    trainer.train()
    assert trainer.open_set.at_start is not first.at_start and trainer.open_set.at_end is not None


def test_the_head_is_fitted_without_what_is_dropped(tmp_path, monkeypatch):
    seen = []

    def classifier_head(reading):
        seen.append(len(reading.pool_rows))
        head = SimpleNamespace(write=lambda model: None)
        return head, np.zeros(len(reading.labels), dtype=np.int64)

    monkeypatch.setattr("hf_ssl.features.start.classifier_head", classifier_head)
    trainer = make_trainer(tmp_path, start="features")
    trainer.train()
    assert seen == [36 - len(trainer.foreign_rows)] and len(trainer.foreign_rows) >= 12


@pytest.mark.parametrize("algorithm", ["comatch", "mixmatch", "vat", "iomatch"])
def test_it_goes_with_algorithms_of_every_kind(algorithm, tmp_path):
    trainer = make_trainer(tmp_path, algorithm=algorithm, max_steps=3)
    assert not drawn_in(trainer) & set(trainer.foreign_rows.tolist())


def test_what_is_left_out_is_not_picked_for_a_later_round(tmp_path):
    settings = {"rounds": 3, "threshold": 0.0}
    saving = {"max_steps": 9, "save_strategy": "steps", "save_steps": 3}
    trainer = make_trainer(tmp_path, algorithm="noisy_student", algorithm_kwargs=settings, **saving)
    trainer.train()
    foreign, picks = set(trainer.foreign_rows.tolist()), trainer._round.picks.index.tolist()
    assert picks and not foreign & set(picks) and len(foreign) >= 12 and trainer.state.global_step == 9


ERRORS = {
    "one label each": (lambda p: make_trainer(p, labeled=1), "must have two labeled examples of a class at least"),
    "a stream": (
        lambda p: with_pool(p, rows((12, 12, 12), 1).to_iterable_dataset()),
        "must be left out for a streamed pool",
    ),
    "no pool": (lambda p: with_pool(p, None), "must be left out without unlabeled_dataset"),
    "all foreign": (
        lambda p: with_pool(p, rows((0, 0, 12), 1)),
        "must leave some of the pool, but all 12",
    ),
}


def with_pool(folder, pool):
    trainer = make_trainer(folder)
    return SSLTrainer(trainer.model, trainer.args, train_dataset=rows((5, 5, 0), 0), unlabeled_dataset=pool)


def test_numbers_have_no_foreign_examples(tmp_path):
    trainer = make_trainer(tmp_path)
    trainer.data = replace(trainer.data, problem_type="regression")
    with pytest.raises(ValueError, match=r"^open_set='drop' must be left out for a regression problem"):
        trainer.check_open_set()


@pytest.mark.parametrize(("make", "message"), ERRORS.values(), ids=ERRORS)
def test_what_cannot_work_is_an_error_before_the_first_step(make, message, tmp_path):
    trainer = make(tmp_path)
    with pytest.raises(ValueError, match=rf"^open_set='drop' {message}") as error:
        trainer.train()
    assert "\n" not in str(error.value) and trainer.state.global_step == 0


def test_a_wrong_name_is_refused():
    with pytest.raises(ValueError, match=r"^open_set must be one of report, drop, or None, got 'all'$"):
        SSLConfig("unused", open_set="all")


@pytest.mark.parametrize("lengths", [None, (np.arange(4), np.arange(20) % 7)])
def test_the_sampler_draws_each_of_the_given_positions_once_per_epoch(lengths):
    drawn = np.array([1, 3, 4, 8, 9, 15, 18, 19])
    sampler = JointBatchSampler(4, 20, 1, 4, lengths=lengths, drawn=drawn)
    assert len(sampler) == 2
    for epoch in (0, 1):
        sampler.set_epoch(epoch)
        keys = [key.index for batch in sampler for key in batch if not key.labeled]
        assert sorted(keys) == drawn.tolist()


@pytest.mark.multiprocess
@pytest.mark.slow
def test_two_processes_leave_out_the_same_and_train_like_one(tmp_path):
    launch(ROOT / "tests" / "helpers" / "open_set_processes.py", str(tmp_path))
    first, second = (load_file(tmp_path / f"rank{rank}.safetensors") for rank in (0, 1))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    whole = open_set_processes.make(tmp_path / "whole", processes=1)
    whole.train()
    expected = open_set_processes.state(whole)
    assert expected["foreign_rows"].tolist() == first["foreign_rows"].tolist() != []
    torch.testing.assert_close(first, expected, rtol=1e-5, atol=1e-7)
