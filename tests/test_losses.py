"""The loss functions against numbers worked out by hand or by loops."""

import math

import pytest
import torch

from hf_ssl import losses

LOG = torch.log(torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]]))


def test_probabilities_are_float32_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        assert losses.probabilities(torch.randn(2, 3).bfloat16()).dtype == torch.float32
    assert losses.probabilities(torch.randn(2, 3).double()).dtype == torch.float64
    torch.testing.assert_close(losses.probabilities(LOG), LOG.exp())
    torch.testing.assert_close(losses.probabilities(LOG, 0.5), losses.sharpen(LOG.exp(), 0.5))


def test_sharpen():
    torch.testing.assert_close(
        losses.sharpen(torch.tensor([[0.5, 0.25, 0.25]]), 0.5), torch.tensor([[2 / 3, 1 / 6, 1 / 6]])
    )
    certain = losses.sharpen(torch.tensor([[1.0, 0.0]], requires_grad=True), 0.1)
    assert torch.isfinite(certain).all()


def test_cross_entropy_counts_masked_examples_in_the_mean():
    labels = torch.tensor([0, 1])
    expected = -(math.log(0.7) + math.log(0.1)) / 2
    assert losses.cross_entropy(LOG, labels).item() == pytest.approx(expected)
    assert losses.cross_entropy(LOG, losses.one_hot(labels, 3)).item() == pytest.approx(expected)
    assert losses.cross_entropy(LOG, labels, torch.tensor([1.0, 0.0])).item() == pytest.approx(-math.log(0.7) / 2)


def test_squared_error():
    target = torch.tensor([[1.0, 0.0, 0.0], [0.1, 0.1, 0.8]])
    assert losses.squared_error(LOG, target).item() == pytest.approx((0.09 + 0.04 + 0.01) / 3 / 2, rel=1e-5)


def test_entropy_and_divergence():
    flat = torch.zeros(2, 4)
    assert losses.entropy(flat).item() == pytest.approx(math.log(4))
    assert losses.kl_divergence(LOG.exp(), LOG).item() == pytest.approx(0, abs=1e-6)
    expected = sum(p * math.log(p / 0.5) for p in (0.9, 0.1))
    divergence = losses.kl_divergence(torch.tensor([[0.9, 0.1]] * 2), torch.zeros(2, 2), torch.tensor([1.0, 0.0]))
    assert divergence.item() == pytest.approx(expected / 2)
    certain = losses.kl_divergence(torch.tensor([[1.0, 0.0]]), torch.zeros(1, 2))
    assert certain.item() == pytest.approx(math.log(2))


def test_cosine_and_unit_length():
    first, second = torch.tensor([[3.0, 4.0], [1.0, 0.0]]), torch.tensor([[6.0, 8.0], [0.0, 2.0]])
    assert losses.positive_cosine(first, second).item() == pytest.approx(0.5)
    assert losses.positive_cosine(first, second, torch.tensor([0.0, 1.0])).item() == pytest.approx(0)
    assert losses.positive_cosine(first, -second).item() == 0
    torch.testing.assert_close(losses.unit_length(first), torch.tensor([[0.6, 0.8], [1.0, 0.0]]))


def test_one_hot():
    torch.testing.assert_close(losses.one_hot(torch.tensor([2, 0]), 3), torch.tensor([[0.0, 0, 1], [1, 0, 0]]))


def test_graph_contrast_is_smallest_where_the_similarity_is_the_graph():
    vectors = torch.eye(3)
    right = losses.graph_contrast(vectors, vectors, torch.eye(3), 0.1)
    wrong = losses.graph_contrast(vectors, vectors.flip(0), torch.eye(3), 0.1)
    assert right.item() < 1e-3 < wrong.item()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("temperature", [1e-3, 0.01, 0.5, 1.0, 10.0])
def test_sharpen_loses_nothing_to_the_precision(temperature, dtype):
    probs = torch.tensor([[0.25, 0.25, 0.25, 0.25], [1.0, 0.0, 0.0, 0.0], [0.5, 0.5, 0.0, 0.0], [0.75, 0.25, 0, 0]])
    # p^(1/T) / sum p^(1/T), and 0 for 0 at any temperature.
    third = 1 / (1 + 3 ** (-1 / temperature) if temperature > 0.005 else 1.0)
    expected = torch.tensor([[0.25] * 4, [1.0, 0, 0, 0], [0.5, 0.5, 0, 0], [third, 1 - third, 0, 0]])
    sharpened = losses.sharpen(probs.to(dtype), temperature)
    assert sharpened.dtype == (dtype if dtype == torch.float64 else torch.float32)
    torch.testing.assert_close(sharpened.float(), expected, rtol=1e-5, atol=1e-7)


def test_sharpen_has_a_gradient_at_certain_predictions():
    probs = torch.tensor([[0.8, 0.2, 0.0]], requires_grad=True)
    losses.sharpen(probs, 0.5)[0, 0].backward()
    # d/dp of p^2 / (p^2 + q^2): 2 p q^2 / (p^2 + q^2)^2, and -2 p^2 q / (...)^2 for q.
    torch.testing.assert_close(probs.grad, torch.tensor([[0.064, -0.256, 0.0]]) / 0.68**2)


@pytest.mark.parametrize("label", [-100, -1, 3])
def test_a_label_that_is_not_a_class_is_refused(label):
    with pytest.raises(IndexError, match=f"{label} is out of bounds"):
        losses.cross_entropy(LOG, torch.tensor([0, label]))
