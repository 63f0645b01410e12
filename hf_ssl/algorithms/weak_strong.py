"""The step that FixMatch and its descendants share: label the weak view, train the strong one."""

import torch
from torch import nn

from .. import losses
from .base import SSLAlgorithm, check
from .parts.thresholds import make_targets


class WeakStrongAlgorithm(SSLAlgorithm):
    """One step in five parts, each a method that an algorithm may replace:

        run         the views through the model
        supervised  the loss on the labeled batch
        refine      the prediction on the weak view, before it is judged (distribution alignment, smoothing)
        targets     the pseudo-labels of the strong view
        additions   further loss terms

    What makes the pseudo-labels count is the `threshold`, a module of `pseudo_labels.py`.

        q = refine(softmax(f(weak(u)))),  mask = threshold(q)
        loss = CE(f(x), y) + unsupervised_weight * mean(mask * CE(f(strong(u)), targets)) + additions

    Shapes: labeled [B], unlabeled [mu*B], q [mu*B, C], mask [mu*B].

    Args:
        rule: the threshold or weighting, which becomes `threshold`.
        hard_labels: train towards the class; otherwise towards softmax(logits / temperature).
        temperature: above 0.
    """

    def __init__(self, rule: nn.Module, hard_labels: bool, temperature: float, **task):
        super().__init__(**task)
        check(temperature > 0, "temperature", temperature, "above 0")
        self.threshold = rule
        self.hard_labels = hard_labels
        self.temperature = temperature

    def forward(self, forward, batch, progress):
        out = self.run(forward, batch)
        supervised = self.supervised(out, batch, progress)
        weak = out["weak"].logits.detach()
        labeled_probs = losses.probabilities(out["labeled"].logits.detach())
        probs = self.refine(losses.probabilities(weak), labeled_probs, out, batch, progress)
        mask = self.threshold(
            probs,
            labeled_probs=labeled_probs,
            index=batch.unlabeled_index,
            progress=progress,
            supervised=supervised.detach(),
        )
        targets = self.targets(weak, probs)
        unsupervised = losses.cross_entropy(out["strong"].logits, targets, mask)
        additions = self.additions(out, probs, mask, batch, progress)
        return self.total(supervised, unsupervised, mask=mask, pseudo_labels=targets, **additions)

    def run(self, forward, batch) -> dict:
        """Outputs by name: "labeled", "weak" and "strong" at least. Later parts may add what they share to it."""
        unlabeled = batch.unlabeled
        return forward(labeled=batch.labeled, strong=unlabeled["strong"], no_grad={"weak": unlabeled["weak"]})

    def supervised(self, out, batch, progress) -> torch.Tensor:
        return losses.cross_entropy(out["labeled"].logits, batch.labels)

    def refine(self, probs, labeled_probs, out, batch, progress) -> torch.Tensor:
        return probs

    def targets(self, weak, probs) -> torch.Tensor:
        """Pseudo-labels, classes [mu*B] or distributions [mu*B, C], from weak logits or from the refined distributions."""
        return make_targets(weak, self.hard_labels, self.temperature)

    def additions(self, out, probs, mask, batch, progress) -> dict:
        """Further keywords for `SSLAlgorithm.total`."""
        return {}
