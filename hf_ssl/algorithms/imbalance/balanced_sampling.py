"""Class-balanced sampling: every class is as likely in a labeled batch."""

from ..correction import Correction


class BalancedSampling(Correction):
    """Draws labeled examples so that each class that has any is as likely as another.

    The simplest answer to a long tail, and a baseline for the others: examples of rare classes are seen more often.
    Nothing else in the step changes, so it can be put around every algorithm. It needs the trainer, which draws.

    Source: Kang et al., "Decoupling Representation and Classifier for Long-Tailed Recognition", ICLR 2020,
    arXiv 1910.09217 (class-balanced sampling).
    """

    balances_labeled = True
    title = "Balanced sampling"
    summary = "labeled examples of every class are drawn equally often"
    year = 2020
    arxiv = "1910.09217"
    citation = """@inproceedings{kang2020decoupling,
  title = {Decoupling Representation and Classifier for Long-Tailed Recognition},
  author = {Kang, Bingyi and Xie, Saining and Rohrbach, Marcus and Yan, Zhicheng and Gordo, Albert and
            Feng, Jiashi and Kalantidis, Yannis},
  booktitle = {International Conference on Learning Representations},
  year = {2020}
}"""
