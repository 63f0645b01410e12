"""The schedule `short`: what defaults for runs of 100,000 steps become for a few hundred."""

import pytest

from hf_ssl.algorithms import ALGORITHMS
from hf_ssl.benchmark import TASKS
from hf_ssl.benchmark.grid.grid_file import parse_grid
from hf_ssl.benchmark.grid.schedules import scheduled

USUAL = ("supervised", "entropy_minimization", "pi_model", "noisy_student", "propagation", "openmatch")


def short(algorithm):
    return scheduled("short", TASKS["ag_news"], 40, algorithm)


def test_every_algorithm_has_settings_that_it_accepts():
    content = {"tasks": ["ag_news"], "algorithms": "all", "labels": [40], "seeds": [0]}
    cells = {cell.algorithm: cell for cell in parse_grid(content, "mine").cells}
    assert set(ALGORITHMS) <= set(cells)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_averages_settle_within_the_run_and_thresholds_let_something_through(name):
    """An average with 0.999 would be its first batch's for all of a run, and a warm-up over the pool would not end."""
    settings = {key: parameter.default for key, parameter in ALGORITHMS[name].settings().items()}
    assert short(name)["algorithm"].keys() <= settings.keys()
    settings |= short(name)["algorithm"]
    assert all(settings.get(key, 0) <= 0.98 for key in ("momentum", "ratio_momentum"))
    assert settings.get("threshold_warmup", False) is False
    # AdaMatch's is relative to the confidence on labels; pseudo_label judges the view that it trains on.
    if name not in ("adamatch", "pseudo_label"):
        assert settings.get("threshold", 0) <= 0.8


@pytest.mark.parametrize(
    ("name", "algorithm", "training"),
    [
        ("freematch", {"momentum": 0.9}, {}),
        ("fixmatch", {"threshold": 0.8}, {}),
        ("flexmatch", {"threshold": 0.8, "threshold_warmup": False}, {}),
        ("shrinkmatch", {"threshold": 0.8, "ratio_momentum": 0.98}, {}),
        ("refixmatch", {"threshold": 0.5}, {}),
        ("defixmatch", {"threshold": 0.8}, {"unsupervised_weight": 0.5}),
        ("mean_teacher", {}, {"unsupervised_weight": 1.0, "ema_decay": 0.9}),
        *((name, {}, {}) for name in USUAL),
    ],
)
def test_what_an_algorithm_gets_besides(name, algorithm, training):
    found, usual = short(name), short("supervised")["training"]
    assert found["algorithm"] == algorithm
    assert {key: value for key, value in found["training"].items() if usual.get(key) != value} == training
