"""Predicting how an image was turned: the self-supervised term of ReMixMatch and CRMatch."""

from transformers.utils import logging

from ... import losses
from ..base import SSLAlgorithm, check

logger = logging.get_logger(__name__)


class RotationTerm(SSLAlgorithm):
    """Gives an algorithm `rotation_weight`, and takes the view away again where it has no use: only images can be turned."""

    def setup_rotation(self, weight: float, head) -> None:
        """Set `rotation_weight` and `rotation`, the head that tells 4 quarter turns; `head` makes it, when it is needed."""
        check(weight >= 0, "rotation_weight", weight, "at least 0")
        if weight > 0 and self.modality != "image":
            logger.warning_once(
                f"{self.title}: rotation_weight is 0 for {self.modality}, only images have a rotated view"
            )
            weight = 0.0
        self.rotation_weight = weight
        self.rotation = head() if weight > 0 else None
        if self.rotation is None:
            self.views = {name: kind for name, kind in self.views.items() if kind != "rotated"}

    def rotated_view(self, batch) -> dict:
        """The rotated view as a keyword of `ModelForward`, if there is such a term."""
        return {} if self.rotation is None else {"rotated": batch.unlabeled["rotated"]}

    def rotation_term(self, out, batch) -> dict:
        """(weight, loss) by name, for `total`."""
        if self.rotation is None:
            return {}
        loss = losses.cross_entropy(self.rotation(out["rotated"].features), batch.rotation_labels)
        return {"rotation": (self.rotation_weight, loss)}
