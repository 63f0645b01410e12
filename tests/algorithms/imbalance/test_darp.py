"""DARP: the refinement against exact roots and by its own equations, the steps, and what bounds its cost."""

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import nn

from hf_ssl import ModelForward, Progress, SSLBatch, get_algorithm
from hf_ssl.algorithms.imbalance import darp
from hf_ssl.algorithms.imbalance.darp import refine

PATH = Path(__file__).resolve().parents[2] / "known_answers" / "pool" / "darp-default.safetensors"
COUNTS = torch.tensor([8.0, 5.0, 2.0, 1.0])


@pytest.fixture(scope="module")
def known():
    with safe_open(PATH, "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (safe_open has no __iter__)
        meta = json.loads(file.metadata()["meta"])
    return meta, {key: each.double() if each.is_floating_point() else each for key, each in tensors.items()}


def make(meta, **changed):
    settings = {**meta["imbalance_kwargs"], **changed}
    sizes = {name: meta[name] for name in ("num_classes", "num_labeled")}
    return get_algorithm(
        "fixmatch",
        feature_size=meta["dim"],
        labeled_batch_size=meta["batch_size"],
        unlabeled_batch_size=8,
        num_unlabeled=settings.pop("num_unlabeled", meta["num_unlabeled"]),
        imbalance="darp",
        class_counts=settings.pop("class_counts"),
        imbalance_kwargs=settings,
        **sizes,
        **meta["hyperparameters"],
    ).double()


def head_of(golden):
    head = nn.Linear(6, 4).double()
    head.load_state_dict({name: golden[f"init/classifier.{name}"] for name in ("weight", "bias")})
    return nn.Sequential(nn.Identity(), head)


def batch_of(golden, step, places=slice(None)):
    given = {key.split("/")[-1]: value for key, value in golden.items() if key.startswith(f"step{step}/input/")}
    views = {name: {"input": given[name][places]} for name in ("weak", "strong")}
    return SSLBatch(
        {"input": given["labeled"]}, given["labels"], views, unlabeled_index=given["unlabeled_index"][places]
    )


# ---- The refinement ----


def test_refines_to_the_exact_roots(known):
    _, golden = known
    refined = refine(golden["input/table"], COUNTS)
    torch.testing.assert_close(refined, golden["refine/refined_exact"], rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(refined.sum(dim=0), golden["refine/column_sums_exact"], rtol=1e-9, atol=1e-9)
    published = golden["refine/refined_published"]
    torch.testing.assert_close(refined, published, rtol=0, atol=3e-4)
    assert torch.equal(refined.argmax(dim=1), published.argmax(dim=1))


def random_table(rows, classes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.softmax(3 * torch.randn(rows, classes, generator=generator, dtype=torch.float64), dim=1)


def test_the_wanted_sums_are_reached_and_the_answer_has_its_form():
    table, counts = random_table(300, 5), torch.tensor([1.0, 20.0, 4.0, 50.0, 9.0])
    refined = refine(table, counts, alpha=300, iterations=200)
    torch.testing.assert_close(refined.sum(dim=1), torch.ones(300, dtype=torch.float64))
    torch.testing.assert_close(refined.sum(dim=0), 300 * counts.double() / counts.sum(), rtol=1e-6, atol=1e-6)
    # log(refined / start) is log x_i - nu_c h_i: differences between classes are in proportion to the entropy h_i.
    start = table * (300 * counts / counts.sum() + 1e-6) / (table.sum(dim=0) + 1e-6) + 1e-6
    start = start / start.sum(dim=1, keepdim=True)
    spread = -(start * (start + 1e-6).log()).sum(dim=1)
    slopes = ((refined / start).log().diff(dim=1) / spread[:, None]).std(dim=0)
    assert float(slopes.max()) < 1e-4


@pytest.mark.parametrize("block", [7, 64, 1 << 20])
def test_blocks_change_nothing(block, monkeypatch):
    table, counts = random_table(50, 4), torch.tensor([1.0, 2.0, 30.0, 5.0])
    expected = refine(table, counts)
    monkeypatch.setattr(darp, "_CACHED", block)
    torch.testing.assert_close(refine(table, counts), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", [torch.float32, torch.float16])
def test_tables_in_less_than_float64_are_refined_alike(kind):
    table, counts = random_table(200, 6).to(kind), torch.tensor([60.0, 30, 10, 5, 2, 1])
    refined = refine(table, counts)
    assert refined.dtype == kind
    torch.testing.assert_close(refined.double(), refine(table.double(), counts), rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize(
    "table, counts",
    [
        (torch.full((20, 3), 1 / 3), [5.0, 1.0, 1.0]),
        (torch.eye(3).repeat(7, 1), [100.0, 1.0, 0.5]),
        (torch.eye(3)[[0] * 20], [1.0, 1.0, 1000.0]),
        (torch.tensor([[1.0, 0.0, 0.0]]), [1.0, 1.0, 1.0]),
    ],
    ids=["all unsure", "all sure", "all of the head, which is the rarest", "one example"],
)
def test_hopeless_tables_end_and_stay_distributions(table, counts):
    refined = refine(table, torch.tensor(counts))
    torch.testing.assert_close(refined.sum(dim=1), torch.ones(len(table)))
    assert float(refined.min()) >= 0


def test_rows_of_unknown_examples_do_not_count():
    known, counts = random_table(40, 4), torch.tensor([5.0, 1.0, 2.0, 9.0])
    table = torch.zeros(100, 4, dtype=torch.float64)
    table[10:50] = known
    refined = refine(table, counts)
    torch.testing.assert_close(refined[10:50], refine(known, counts))
    assert refined[:10].abs().sum() == refined[50:].abs().sum() == 0


@pytest.mark.parametrize("iterations", [1, 10])
def test_the_table_is_read_a_bounded_number_of_times(iterations, monkeypatch):
    reads = []
    blocks = darp._blocks
    monkeypatch.setattr(darp, "_blocks", lambda table: reads.append(1) or blocks(table))
    for table in (random_table(200, 3), torch.eye(3)[[0] * 20]):
        reads.clear()
        refine(table, torch.tensor([1.0, 1.0, 1000.0]), iterations=iterations)
        assert len(reads) == darp._HALVINGS + 4 + iterations + darp._FIRST_STEPS + (iterations - 1) * darp._LATER_STEPS


# ---- The steps ----


def test_reproduces_the_reference_step_by_step(known):
    meta, golden = known
    algorithm, model = make(meta), head_of(golden)
    algorithm.table.copy_(golden["input/table"])
    algorithm.refined.copy_(golden["input/table"])
    for step in range(meta["steps"]):
        progress = Progress(step, meta["max_steps"], meta["steps_per_epoch"])
        output = algorithm(ModelForward(model), batch_of(golden, step), progress)
        torch.testing.assert_close(output.loss, golden[f"step{step}/loss"])
        assert torch.equal(output.mask, golden[f"step{step}/mask"])
        assert torch.equal(output.pseudo_labels, golden[f"step{step}/pseudo_labels"])
        torch.testing.assert_close(algorithm.refined.sum(dim=0), golden[f"step{step}/refined_sum"])
        model.zero_grad()
        output.loss.backward()
        with torch.no_grad():
            for name, parameter in model[1].named_parameters():
                torch.testing.assert_close(parameter.grad, golden[f"step{step}/grad/classifier.{name}"])
                parameter.sub_(meta["lr"] * parameter.grad)
    torch.testing.assert_close(algorithm.table, golden["final/table"])
    torch.testing.assert_close(algorithm.refined, golden["final/refined"])


def test_passes_of_a_step_leave_what_the_whole_step_leaves(known):
    meta, golden = known
    whole, divided, model = make(meta, refine_every=1), make(meta, refine_every=1), head_of(golden)
    for step in range(3, 6):
        progress = Progress(step, meta["max_steps"], meta["steps_per_epoch"])
        whole(ModelForward(model), batch_of(golden, step), progress)
        for places in (slice(0, 3), slice(3, 8)):
            divided(ModelForward(model), batch_of(golden, step, places), progress)
        assert torch.equal(whole.table, divided.table) and torch.equal(whole.refined, divided.refined)
    assert whole.refined.sum() > 8


def test_an_example_that_the_table_does_not_know_keeps_the_algorithms_label(known):
    meta, golden = known
    algorithm, model = make(meta, refine_every=4), head_of(golden)
    plain = batch_of(golden, 3)
    own = model(plain.unlabeled["weak"]["input"]).argmax(dim=1)
    # Step 3 is past the warm-up, and the first refinement comes with step 4.
    assert torch.equal(algorithm(ModelForward(model), plain, Progress(3, 12, 3)).pseudo_labels, own)
    algorithm(ModelForward(model), batch_of(golden, 4), Progress(4, 12, 3))
    seen = set(plain.unlabeled_index.tolist()) | set(golden["step4/input/unlabeled_index"].tolist())
    assert set(algorithm.refined.sum(dim=1).nonzero().flatten().tolist()) == seen
    torch.testing.assert_close(algorithm.refined.sum(), torch.tensor(float(len(seen)), dtype=torch.float64))


def test_soft_targets_are_refined_rows(known):
    meta, golden = known
    soft = {**meta, "hyperparameters": {"hard_labels": False, "temperature": 1.0, "threshold": 0.1}}
    algorithm, model = make(soft, refine_every=1), head_of(golden)
    batch = batch_of(golden, 3)
    output = algorithm(ModelForward(model), batch, Progress(3, 12, 3))
    assert torch.equal(output.pseudo_labels, algorithm.refined[batch.unlabeled_index])


# ---- What it costs ----


def test_refinements_wait_until_a_tenth_of_the_pool_is_new(known):
    meta, _ = known
    assert make(meta).correction.period == 2
    large = make(meta, num_unlabeled=8000, refine_every=10).correction
    assert large.period == 100
    assert large.milestones(Progress(0, 1000, 10)) == {"pseudo-labels are refined": 100}


def test_warmup_is_a_share_of_the_run_unless_it_is_set(known):
    part = make(known[0], warmup_epochs=None).correction
    first = next(step for step in range(1000) if part.is_warm(Progress(step, 1000, 5)))
    assert first == 405
    assert part.milestones(Progress(0, 1000, 5)) == {"pseudo-labels are refined": 406}


def test_large_tables_are_kept_in_half_the_memory(known, monkeypatch):
    assert make(known[0]).float().table.dtype == torch.float32
    monkeypatch.setattr(darp, "_LARGEST_SINGLE", 90)
    small = get_algorithm(
        "fixmatch",
        num_classes=4,
        num_labeled=16,
        num_unlabeled=24,
        feature_size=6,
        labeled_batch_size=4,
        unlabeled_batch_size=8,
        imbalance="darp",
    )
    assert small.table.dtype == small.refined.dtype == torch.float16
    assert math.prod(small.table.shape) == 96
