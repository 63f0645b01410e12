"""The statistics against worked examples of Demšar (2006), printed tables, and scipy."""

import numpy as np
import pytest
from scipy import stats

from hf_ssl.benchmark.leaderboard.statistics import (
    block_ranks,
    critical_difference,
    friedman,
    holm,
    mean_and_error,
    not_different,
    signed_rank_p,
)

# Demšar (2006), Table 6: ranks of C4.5, C4.5+m, C4.5+cf and C4.5+m+cf by their AUC on 14 data sets.
RANKS = np.array(
    [
        [4, 3, 2, 1],
        [1, 2, 3, 4],
        [4, 1, 2, 3],
        [4, 1, 3, 2],
        [4, 2, 3, 1],
        [1, 2.5, 4, 2.5],
        [3, 2, 4, 1],
        [2.5, 2.5, 4, 1],
        [4, 3, 2, 1],
        [2.5, 2.5, 2.5, 2.5],
        [4, 2.5, 1, 2.5],
        [3, 2, 4, 1],
        [4, 1, 2, 3],
        [3, 1, 4, 2],
    ]
)
# Table 2: AUC of C4.5 and C4.5+m.
C45 = [0.763, 0.599, 0.954, 0.628, 0.882, 0.936, 0.661, 0.583, 0.775, 1.000, 0.940, 0.619, 0.972, 0.957]
C45_M = [0.768, 0.591, 0.971, 0.661, 0.888, 0.931, 0.668, 0.583, 0.838, 1.000, 0.962, 0.666, 0.981, 0.978]


def test_mean_ranks_are_those_of_the_paper():
    means = block_ranks(RANKS).mean(axis=0)
    assert means.round(3).tolist() == [3.143, 2.0, 2.893, 1.964]


def test_friedman_is_the_papers_but_for_the_correction_for_ties():
    found = friedman(RANKS)
    tied = 3 * (2**3 - 2) + (4**3 - 4)
    correction = 1 - tied / (14 * 4 * (4**2 - 1))
    uncorrected = found.statistic * correction
    assert uncorrected == pytest.approx(9.28, abs=0.005)
    assert 13 * uncorrected / (14 * 3 - uncorrected) == pytest.approx(3.69, abs=0.005)
    assert found.f_statistic == pytest.approx(13 * found.statistic / (14 * 3 - found.statistic))


def test_friedman_is_scipys():
    errors = np.random.default_rng(0).normal(size=(9, 5)) + np.arange(5) / 2
    found, expected = friedman(errors), stats.friedmanchisquare(*errors.T)
    assert (found.statistic, found.p_value) == (expected.statistic, expected.pvalue)
    assert found.f_p_value == pytest.approx(stats.f.sf(found.f_statistic, 4, 32))


@pytest.mark.parametrize(
    ("errors", "f_statistic", "f_p_value"),
    [([[1, 2, 3]] * 4, float("inf"), 0.0), ([[1, 1, 1]] * 4, 0.0, 1.0)],
    ids=["all agree", "all are equal"],
)
def test_friedman_at_its_ends(errors, f_statistic, f_p_value):
    found = friedman(errors)
    assert (found.f_statistic, found.f_p_value) == (f_statistic, f_p_value)


@pytest.mark.parametrize("errors", [[[1, 2, 3]], [[1, 2], [2, 1], [1, 2]]], ids=["one block", "two algorithms"])
def test_friedman_needs_blocks_and_algorithms(errors):
    assert friedman(errors) is None


@pytest.mark.parametrize(
    ("alpha", "printed"),
    [
        # Demšar (2006), Table 5(a): critical values of the two-tailed Nemenyi test for 2 to 10 classifiers.
        (0.05, [1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164]),
        (0.10, [1.645, 2.052, 2.291, 2.459, 2.589, 2.693, 2.780, 2.855, 2.920]),
    ],
)
def test_critical_differences_are_those_of_the_printed_table(alpha, printed):
    # With N = k (k + 1) / 6 blocks the difference is the critical value itself.
    for algorithms, value in enumerate(printed, start=2):
        blocks = algorithms * (algorithms + 1) / 6
        assert critical_difference(algorithms, blocks, alpha) == pytest.approx(value, abs=0.0015)


def test_the_groups_of_the_paper():
    """At 0.10 C4.5 is worse than C4.5+m and C4.5+m+cf; which group C4.5+cf belongs to cannot be told."""
    ranks = sorted(block_ranks(RANKS).mean(axis=0))
    assert not_different(ranks, critical_difference(4, 14, alpha=0.1)) == [(0, 2), (2, 3)]
    assert not_different(ranks, critical_difference(4, 14)) == [(0, 3)]


def test_the_signed_rank_test_is_the_papers():
    """R+ is 93 and R- 12; with 14 pairs the critical value at 0.05 is 21."""
    differences = np.subtract(C45_M, C45).round(3)
    ranks = stats.rankdata(abs(differences))
    split = ranks[differences == 0].sum() / 2
    assert ranks[differences > 0].sum() + split == 93
    assert ranks[differences < 0].sum() + split == 12
    p_value = signed_rank_p(differences)
    assert p_value < 0.05
    # scipy takes 14 pairs with ties as many, and gives the normal distribution's p.
    assert p_value == pytest.approx(stats.wilcoxon(differences, zero_method="zsplit").pvalue, abs=0.005)
    assert signed_rank_p(-differences) == pytest.approx(p_value)


@pytest.mark.parametrize(("pairs", "smallest"), [(5, 0.0625), (6, 0.03125), (10, 2 / 2**10)])
def test_the_smallest_p_of_a_number_of_pairs(pairs, smallest):
    assert signed_rank_p(np.arange(1, pairs + 1)) == pytest.approx(smallest)


@pytest.mark.parametrize(
    "differences", [[1, -2, 1, 0], [-1, 0, 3, 3, -2, 1, 2], [0.5, 0.5, 0.5], [3, -1, 2, 0.5, 7, -4, 6, 9]]
)
def test_the_signed_rank_test_is_scipys_with_ties_and_zeros(differences):
    """scipy goes through all signs there, which takes it seconds for more pairs."""
    expected = stats.wilcoxon(np.array(differences, dtype=float), zero_method="zsplit").pvalue
    assert signed_rank_p(differences) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("pairs", [50, 51, 400])
def test_the_signed_rank_test_of_many_pairs(pairs):
    differences = np.random.default_rng(0).normal(0.2, 1, size=pairs)
    method = "exact" if pairs <= 50 else "asymptotic"
    assert signed_rank_p(differences) == pytest.approx(stats.wilcoxon(differences, method=method).pvalue)


def test_no_pairs_have_no_p():
    assert signed_rank_p([]) is None


def test_holm_by_hand():
    # Four tests: 4 * 0.005, 3 * 0.01, 2 * 0.03, 1 * 0.04 (not below the one before), in the order given.
    assert holm([0.03, 0.005, 0.04, 0.01]) == pytest.approx([0.06, 0.02, 0.06, 0.03])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_the_standard_error_is_scipys():
    values = [3.0, 4.5, 1.25, 9.0]
    mean, error = mean_and_error(values)
    assert (mean, error) == (pytest.approx(np.mean(values)), pytest.approx(stats.sem(values)))
