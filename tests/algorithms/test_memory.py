"""The memories of SimMatch and CoMatch: what was never written has no vote, and a short run uses them as well."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from hf_ssl import ModelForward, Progress, SSLBatch, get_algorithm
from hf_ssl.algorithms.parts.memory import FeatureQueue, slot_logits

from tests.helpers.algorithm_cases import make_models
from tests.helpers.algorithm_references import ce, normalize, softmax, unit

CLASSES, DIM, SLOTS, WIDTH = 3, 4, 120, 3
SIZES = {"num_unlabeled": 24, "feature_size": DIM, "labeled_batch_size": 6, "unlabeled_batch_size": 5}
SETTINGS = {"temperature": 0.3, "smoothing": 0.6, "projection_size": WIDTH, "alignment_queue_size": 4}


def make(name, **settings):
    torch.manual_seed(3)
    made = get_algorithm(name, num_classes=CLASSES, num_labeled=SLOTS, **SIZES, **{**SETTINGS, **settings})
    return made.double()


def batch_of(step, slots=range(20, 26)):
    generator = torch.Generator().manual_seed(50 + step)

    def draw(count):
        return {"x": 2 * torch.randn(count, DIM, generator=generator, dtype=torch.float64)}

    return SSLBatch(
        labeled=draw(6),
        labels=torch.tensor([0, 1, 2, 2, 1, 2]),
        unlabeled={name: draw(5) for name in ("weak", "strong", "strong_2")},
        labeled_index=torch.tensor(list(slots)),
        unlabeled_index=torch.arange(5),
    )


def step_of(algorithm, batch, step, models=None, max_steps=10, steps_per_epoch=1):
    return algorithm(ModelForward((models or make_models())[0]), batch, Progress(step, max_steps, steps_per_epoch))


def embedded(algorithm, view):
    return np.array([unit(row) for row in algorithm.projection(view["x"]).detach().numpy()])


def aligned_of(means, probs):
    """Predictions aligned towards uniform with the means of the batches so far."""
    mean = np.sum(means, axis=0) / SETTINGS["alignment_queue_size"]
    return [normalize(p * (1 / CLASSES + 1e-6) / (mean + 1e-6)) for p in probs]


def predictions(view):
    logits = make_models()[0](view["x"]).detach().numpy()
    return np.array([softmax(row) for row in logits])


def test_simmatch_hears_only_the_examples_that_it_has_seen():
    """6 of 120 slots are written before the second step: the vote is theirs, and so is the instance term."""
    algorithm, first, second = make("simmatch"), batch_of(0), batch_of(1, range(40, 46))
    start = step_of(algorithm, first, 0)
    assert start.terms["instance"] == 0
    output = step_of(algorithm, second, 1)
    t, share = SETTINGS["temperature"], SETTINGS["smoothing"]
    memory, owners = embedded(algorithm, first.labeled), first.labels.numpy()
    probs = [predictions(batch.unlabeled["weak"]) for batch in (first, second)]
    aligned = aligned_of([p.mean(axis=0) for p in probs], probs[1])
    targets, instance = [], 0.0
    weak, strong = (embedded(algorithm, second.unlabeled[name]) for name in ("weak", "strong"))
    for p, e, s in zip(aligned, weak, strong, strict=True):
        near = softmax(memory @ e, t)
        targets.append(share * p + (1 - share) * np.array([near[owners == c].sum() for c in range(CLASSES)]))
        instance += ce(memory @ s / t, normalize(near * p[owners])) / len(aligned)
    torch.testing.assert_close(output.pseudo_labels, torch.tensor(np.array(targets)), rtol=1e-6, atol=1e-8)
    assert output.terms["instance"].item() == pytest.approx(instance, rel=1e-6)
    written = algorithm.memory_written
    assert written.dtype == torch.bool and written.nonzero().flatten().tolist() == [*range(20, 26), *range(40, 46)]


def test_slots_that_are_marked_as_written_vote_as_they_are():
    """As in the reference, where all 120 do from the start, as examples of class 0."""
    algorithm, batch = make("simmatch"), batch_of(0)
    algorithm.memory_written.fill_(True)
    bank = algorithm.memory_bank.clone().numpy()
    output = step_of(algorithm, batch, 1)
    probs = predictions(batch.unlabeled["weak"])
    aligned = aligned_of([probs.mean(axis=0)], probs)
    expected = SETTINGS["smoothing"] * np.array(aligned) + (1 - SETTINGS["smoothing"]) * np.array([1.0, 0.0, 0.0])
    torch.testing.assert_close(output.pseudo_labels, torch.tensor(expected), rtol=1e-6, atol=1e-8)
    t, instance = SETTINGS["temperature"], 0.0
    weak, strong = (embedded(algorithm, batch.unlabeled[name]) for name in ("weak", "strong"))
    for e, s in zip(weak, strong, strict=True):
        instance += ce(s @ bank / t, softmax(e @ bank, t)) / len(weak)
    assert output.terms["instance"].item() == pytest.approx(instance, rel=1e-6)


@pytest.mark.parametrize("name", ["simmatch", "comatch"])
def test_an_empty_memory_leaves_the_prediction_as_it_is(name):
    """A loop may begin late, with an algorithm that has seen nothing yet."""
    algorithm, batch = make(name, **({"queue_batches": 1} if name == "comatch" else {})), batch_of(0)
    output = step_of(algorithm, batch, 7)
    probs = predictions(batch.unlabeled["weak"])
    expected = torch.tensor(np.array(aligned_of([probs.mean(axis=0)], probs)))
    torch.testing.assert_close(output.pseudo_labels, expected, rtol=1e-6, atol=1e-8)
    output.loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in algorithm.parameters())
    assert output.terms.get("instance", 0.0) == 0.0


def test_a_prediction_without_any_chance_for_the_remembered_classes_has_no_instance_target():
    algorithm, models = make("simmatch"), make_models()
    first, second = batch_of(0), batch_of(1)
    first.labels = torch.zeros(6, dtype=torch.int64)
    step_of(algorithm, first, 0)
    with torch.no_grad():
        models[0].classifier.weight.zero_()
        models[0].classifier.bias.copy_(torch.tensor([-2000.0, 0.0, 0.0]))
    output = step_of(algorithm, second, 1, models)
    assert output.terms["instance"] == 0 and output.loss.isfinite()


def test_comatch_hears_only_the_part_of_its_queue_that_is_filled():
    """The last step of an epoch may have fewer examples than the others, so a queue can be filled late."""
    algorithm = make("comatch", queue_batches=2)
    first, second = batch_of(0), batch_of(3)
    first.unlabeled = {name: {"x": view["x"][:2]} for name, view in first.unlabeled.items()}
    step_of(algorithm, first, 0)
    output = step_of(algorithm, second, 3)
    probs = [predictions(batch.unlabeled["weak"]) for batch in (first, second)]
    means = [p.mean(axis=0) for p in probs]
    memory = np.concatenate([embedded(algorithm, view) for view in (first.unlabeled["weak"], first.labeled)])
    classes = np.concatenate([aligned_of(means[:1], probs[0]), np.eye(CLASSES)[first.labels.numpy()]])
    expected = []
    for p, e in zip(aligned_of(means, probs[1]), embedded(algorithm, second.unlabeled["weak"]), strict=True):
        votes = softmax(memory @ e, SETTINGS["temperature"]) @ classes
        expected.append(SETTINGS["smoothing"] * p + (1 - SETTINGS["smoothing"]) * votes)
    torch.testing.assert_close(output.pseudo_labels, torch.tensor(np.array(expected)), rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(output.pseudo_labels.sum(dim=-1), torch.ones(5).double(), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_an_empty_slot_has_no_weight_in_any_precision(dtype):
    written = torch.tensor([True, False, True, False])
    logits = slot_logits(torch.eye(2, dtype=dtype), -torch.ones(2, 4), written, temperature=0.01)
    assert logits.dtype == dtype and logits.isfinite().all()
    assert torch.softmax(logits.float(), dim=-1).tolist() == [[0.5, 0.0, 0.5, 0.0]] * 2
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = slot_logits(torch.eye(2), -torch.ones(2, 4), written, temperature=0.01)
        assert torch.softmax(logits, dim=-1).tolist() == [[0.5, 0.0, 0.5, 0.0]] * 2


def test_a_queue_votes_with_its_filled_slots_alone():
    queue, probs = FeatureQueue(50, 2, 2), torch.tensor([[0.9, 0.1], [0.3, 0.7]])
    queue.push(torch.eye(2), probs)
    weights = softmax(np.array([1.0, 0.0]), 0.5)
    torch.testing.assert_close(queue.vote(torch.tensor([[1.0, 0.0]]), 0.5)[0], torch.tensor(weights).float() @ probs)


# ---- In the trainer ----


def instance_part(trainer):
    """How much of each step's loss is neither supervised nor unsupervised."""
    found, forward = [], trainer.algorithm.forward

    def noted(*given):
        output = forward(*given)
        found.append((output.loss - output.terms["supervised"] - output.terms["unsupervised"]).item())
        return output

    trainer.algorithm.forward = noted
    return found


def test_simmatch_uses_its_memory_in_a_run_shorter_than_a_pass(make_trainer):
    trainer = make_trainer(algorithm="simmatch", max_steps=4)  # 4 x 4 of 24 examples
    parts = instance_part(trainer)
    trainer.train()
    assert abs(parts[0]) < 1e-6 and all(part > 1e-3 for part in parts[1:])


def test_comatch_uses_its_memory_in_a_run_shorter_than_a_pass(make_trainer, monkeypatch):
    steps, vote = [], FeatureQueue.vote
    trainer = make_trainer(algorithm="comatch", max_steps=5, algorithm_kwargs={"queue_batches": 2})
    monkeypatch.setattr(FeatureQueue, "vote", lambda *given: steps.append(trainer.state.global_step) or vote(*given))
    trainer.train()
    assert steps == [3, 4]


def test_what_is_written_survives_resuming(make_trainer):
    run = {"algorithm": "simmatch", "max_steps": 3, "save_strategy": "steps", "save_steps": 2}
    trainer = make_trainer(**run)
    trainer.train()
    folder = f"{trainer.args.output_dir}/checkpoint-2"
    saved = load_file(f"{folder}/ssl_algorithm.safetensors")
    assert saved["memory_written"].dtype == torch.bool and saved["memory_written"].sum() == 4
    again = make_trainer(**run)
    again.train(resume_from_checkpoint=folder)
    assert torch.equal(again.algorithm.memory_written, trainer.algorithm.memory_written)


def test_a_checkpoint_from_before_slots_were_marked_is_refused_with_the_reason(make_trainer):
    trainer = make_trainer(algorithm="simmatch", max_steps=2, save_strategy="steps", save_steps=1)
    trainer.train()
    folder = Path(trainer.args.output_dir, "checkpoint-1")
    # Such checkpoints have no checksums, either.
    (folder / "checksums.sha256").unlink()
    for path in folder.glob("ssl_*.safetensors"):
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
        info = {key: value for key, value in json.loads(metadata["hf_ssl"]).items() if key != "checksums"}
        state = {name: tensor for name, tensor in load_file(path).items() if name != "memory_written"}
        save_file(state, path, metadata={**metadata, "hf_ssl": json.dumps(info)})
    with pytest.raises(ValueError, match=r"does not fit.*memory_written is missing: .*start from scratch") as error:
        trainer.train(resume_from_checkpoint=f"{trainer.args.output_dir}/checkpoint-1")
    assert "\n" not in str(error.value)
