"""Distribution alignment."""

import pytest
import torch

from hf_ssl.algorithms.parts.alignment import MovingAverageAlignment, QueueAlignment, rescale

FIRST = torch.tensor([[0.8, 0.2], [0.6, 0.4]])
SECOND = torch.tensor([[0.1, 0.9], [0.3, 0.7]])


def test_rescale_moves_the_mean_to_the_target():
    aligned = rescale(FIRST, torch.tensor([0.7, 0.3]), torch.tensor([0.5, 0.5]))
    expected = torch.tensor([[0.8 / 0.7, 0.2 / 0.3], [0.6 / 0.7, 0.4 / 0.3]])
    torch.testing.assert_close(aligned, expected / expected.sum(1, keepdim=True), rtol=1e-4, atol=1e-5)


def test_moving_average_starts_from_the_first_batch():
    alignment = MovingAverageAlignment(2, torch.tensor([0.5, 0.5]), momentum=0.9)
    alignment(FIRST, None)
    torch.testing.assert_close(alignment.alignment_model, torch.tensor([0.7, 0.3]))
    alignment(SECOND, None)
    torch.testing.assert_close(alignment.alignment_model, torch.tensor([0.9 * 0.7 + 0.1 * 0.2, 0.9 * 0.3 + 0.1 * 0.8]))
    torch.testing.assert_close(alignment.alignment_target, torch.tensor([0.5, 0.5]))


def test_a_learned_target_follows_the_labeled_batch_from_uniform():
    alignment = MovingAverageAlignment(2, momentum=0.9)
    alignment(FIRST, SECOND)
    torch.testing.assert_close(alignment.alignment_target, torch.tensor([0.45 + 0.02, 0.45 + 0.08]))


def test_queue_forgets_the_oldest_batch():
    alignment = QueueAlignment(2, queue_size=2)
    for batch in (FIRST, SECOND, SECOND):
        aligned = alignment(batch)
    torch.testing.assert_close(alignment.alignment_model, torch.tensor([[0.2, 0.8], [0.2, 0.8]]))
    torch.testing.assert_close(aligned, rescale(SECOND, torch.tensor([0.2, 0.8]), torch.tensor([0.5, 0.5])))


def test_a_queue_that_is_not_full_yet_aligns_with_what_it_has():
    torch.testing.assert_close(
        QueueAlignment(2, queue_size=8)(FIRST), QueueAlignment(2, queue_size=1)(FIRST), rtol=1e-4, atol=1e-5
    )


def test_settings_are_checked():
    with pytest.raises(ValueError, match="momentum must be in"):
        MovingAverageAlignment(2, momentum=1.0)
    with pytest.raises(ValueError, match="alignment_queue_size must be at least 1"):
        QueueAlignment(2, 0)
