"""A learned reward for pseudo-labels: how well a label suits the features of an example (SemiReward)."""

import torch
from torch import nn

from ...distributed import gather
from ...losses import one_hot
from ..problem import Progress, check
from ..steps import StepStatistics

# As the authors set them.
_WIDTH = 128
_INTERVAL = 10
# Of more classes, a lesson asks about so many, drawn anew, and a soft label counts by its most probable ones.
_MOST_ASKED, _MOST_MIXED = 1_000, 100


class Rewarder(nn.Module):
    """R(h, c): a number in (0, 1) for features and a class, by attention over these two and a small network.

        e = [norm(W h), norm(v_c)],  a = softmax over the two of w.e
        R = sigmoid(network(a_1 e_1 + a_2 e_2 + e_2))

    Args:
        feature_size: D.
        num_classes: C.

    Example:
        >>> rewarder = Rewarder(feature_size=8, num_classes=3)
        >>> features, classes = torch.randn(5, 8), torch.tensor([0, 1, 2, 0, 1])
        >>> rewarder(features, classes).shape, rewarder.of_classes(features, torch.arange(3)).shape
        (torch.Size([5]), torch.Size([5, 3]))
    """

    def __init__(self, feature_size: int, num_classes: int):
        super().__init__()
        self.feature = nn.Sequential(nn.Linear(feature_size, _WIDTH), nn.LayerNorm(_WIDTH))
        self.label = nn.Sequential(nn.Embedding(num_classes, _WIDTH), nn.LayerNorm(_WIDTH))
        self.attention = nn.Linear(_WIDTH, 1, bias=False)
        self.network = nn.Sequential(
            nn.Linear(_WIDTH, 2 * _WIDTH),
            nn.ReLU(),
            nn.Linear(2 * _WIDTH, _WIDTH),
            nn.Linear(_WIDTH, _WIDTH // 2),
            nn.ReLU(),
            nn.Linear(_WIDTH // 2, 1),
        )

    def forward(self, features: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        """Rewards [N] of features [N, D] and classes [N]."""
        return self._rewards(self.feature(features), self.label(classes))

    def of_classes(self, features: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        """Rewards [N, K] of features [N, D] and each of the classes [K], or of K classes for each row [N, K]."""
        count = classes.shape[-1]
        first = self.feature(features).repeat_interleave(count, dim=0)
        second = self.label(classes)
        second = second.flatten(end_dim=1) if classes.ndim == 2 else second.repeat(len(features), 1)
        return self._rewards(first, second).view(len(features), count)

    def _rewards(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        both = torch.stack([first, second], dim=1)
        attended = (self.attention(both).softmax(dim=1) * both).sum(dim=1)
        return torch.sigmoid(self.network(attended + second)).squeeze(-1)


class RewardFilter(StepStatistics):
    """Keeps the pseudo-labels whose reward is at least the mean one, and teaches the rewards.

        S(c, y) = (1 + cos(e_c, y)) / 2                    what R is to say of class c if y is true: 1 or 1/2
        rewarder = mean(sum_c w_c (R(h, c) - S(c, y))^2),  w_c = y_c / 2 + (1 - y_c) / (2 (C - 1))

    so that half of what R learns from is right and half is wrong. The features h have no gradient. It learns from the
    labeled examples; from `start` on, in every tenth step, the same term of the pool is added, in which the
    pseudo-labels that are kept stand for the true ones. The reward of a soft pseudo-label y is sum_c y_c R(h, c).
    Of more than 1,000 classes a lesson asks about those of the labels and 1,000 drawn at random, and of a soft
    pseudo-label the 100 most probable classes count.

    Args:
        feature_size: D.
        num_classes: C.
        start: the share of the run after which it filters, in [0, 1).

    Example:
        >>> part = RewardFilter(feature_size=8, num_classes=3, start=0.1)
        >>> features, labels = torch.randn(4, 8), torch.tensor([0, 1, 2, 0])
        >>> keep, term = part(features, labels, features, labels, Progress(step=0, max_steps=100, steps_per_epoch=10))
        >>> keep, term.shape
        (tensor([1., 1., 1., 1.]), torch.Size([]))
    """

    def __init__(self, feature_size: int, num_classes: int, start: float):
        super().__init__()
        check(0 <= start < 1, "reward_start", start, "in [0, 1), or None for no filter")
        self.num_classes, self.reward_start = num_classes, start
        self.rewarder = Rewarder(feature_size, num_classes)

    def begins_at(self, progress: Progress) -> int:
        """The first step that filters."""
        return round(self.reward_start * progress.max_steps)

    def forward(
        self,
        labeled: torch.Tensor,
        labels: torch.Tensor,
        weak: torch.Tensor,
        targets: torch.Tensor,
        progress: Progress,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What is kept, [N] of 0 and 1 (all of it before `start`), and the term, a scalar.

        Args:
            labeled: features [B, D] of the labeled examples.
            labels: their classes [B].
            weak: features [N, D] of the pool's weak views.
            targets: their pseudo-labels, classes [N] or distributions [N, C].
            progress: of the step.
        """
        begin, term = self.begins_at(progress), self.lesson(labeled, labels)
        if progress.step < begin:
            return torch.ones_like(weak[:, 0]), term
        rewards = self.rewards(weak, targets)
        (everywhere,) = self.joined(gather(rewards))
        keep = (rewards >= everywhere.mean()).to(rewards.dtype)
        if (progress.step - begin) % _INTERVAL == 0:
            # Beside the labels, never in their place: what it let through would be all that it learns from.
            term = term + self.lesson(weak, targets, keep)
        return keep, term

    @torch.no_grad()
    def rewards(self, features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Rewards [N] of features [N, D] and labels, classes [N] or distributions [N, C]."""
        features = self._typed(features)
        if not labels.is_floating_point():
            return self.rewarder(features, labels)
        shares, classes = labels.topk(min(self.num_classes, _MOST_MIXED), dim=-1)
        return (shares * self.rewarder.of_classes(features, classes)).sum(dim=-1) / shares.sum(dim=-1)

    def lesson(
        self, features: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The term, a scalar, for features [N, D], labels that are taken to be true, and weights [N]."""
        asked = self._asked(labels)
        found = self.rewarder.of_classes(self._typed(features.detach()), asked)
        true = (labels if labels.is_floating_point() else one_hot(labels, self.num_classes)).to(found.dtype)
        wanted = (1 + true / true.norm(dim=-1, keepdim=True))[:, asked] / 2
        true = true[:, asked]
        counted = (true + (1 - true) / max(len(asked) - 1, 1)) / 2
        errors = (counted * (found - wanted).square()).sum(dim=-1)
        return errors.mean() if weights is None else (weights * errors).mean()

    def _asked(self, labels: torch.Tensor) -> torch.Tensor:
        """The classes [K] that a lesson asks about: all, or of many those of the labels and others at random."""
        if self.num_classes <= _MOST_ASKED:
            return torch.arange(self.num_classes, device=labels.device)
        right = labels.argmax(dim=-1) if labels.is_floating_point() else labels
        drawn = torch.randint(self.num_classes, (_MOST_ASKED,), device=labels.device)
        return torch.cat([right, drawn]).unique()

    def _typed(self, features: torch.Tensor) -> torch.Tensor:
        return features.to(self.rewarder.attention.weight.dtype)
