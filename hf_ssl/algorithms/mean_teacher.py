"""Mean Teacher: the Pi-Model, with the targets of a teacher whose weights are averages of the student's."""

from ..batches.batch import SSLBatch
from ..model.forward import ModelForward, ViewOutput
from .pi_model import PiModel


class MeanTeacher(PiModel):
    """The Pi-Model whose target is given by a teacher, the exponential moving average of the model's weights. Only
    that differs: on the second view the student learns what the teacher predicts on the first.

        q = softmax(teacher(u_1))
        loss = CE(f(x), y) + unsupervised_weight * warmup * |softmax(f(u_2)) - q|^2 / C

    Shapes: labeled `[B]`, unlabeled `[mu*B]`, q `[mu*B, C]`. Needs a teacher.

    Args:
        warmup_fraction: part of training over which the unsupervised weight rises, at least 0; default 0.4.

    Note:
        USB's recipes set `unsupervised_weight` to 50.

    Paper: Tarvainen and Valpola, "Mean teachers are better role models: Weight-averaged consistency targets improve
    semi-supervised deep learning results", NeurIPS 2017, arXiv 1703.01780.
    """

    uses_teacher = True
    title = "Mean Teacher"
    summary = "the averaged weights of the model teach the model"
    year = 2017
    arxiv = "1703.01780"
    citation = """@inproceedings{tarvainen2017mean,
  title = {Mean teachers are better role models: Weight-averaged consistency targets improve semi-supervised deep
           learning results},
  author = {Tarvainen, Antti and Valpola, Harri},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2017}
}"""

    def run(self, model: ModelForward, batch: SSLBatch) -> dict[str, ViewOutput]:
        """As in the Pi-Model, with "weak" through the teacher."""
        out = model(labeled=batch.labeled, frozen={"strong": batch.unlabeled["strong"]})
        return {**out, **model.teacher(weak=batch.unlabeled["weak"])}
