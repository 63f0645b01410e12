"""What stands in the place of an algorithm in the card of a model whose head was fitted, not trained."""

from typing import NoReturn

from ..algorithms import SSLAlgorithm


class FittedHead(SSLAlgorithm):
    """A head that was fitted to frozen features; it cannot be trained with."""

    views = {}

    def forward(self, *arguments: object) -> NoReturn:
        raise RuntimeError("a fitted head is not trained; choose an algorithm of hf_ssl.algorithms")


class FittedProbe(FittedHead):
    """A linear model of the labeled examples' features."""

    title = "a linear classifier of frozen features, fitted to the labels alone"
    summary = "labels alone, on frozen features"


class FittedFeatures(FittedHead):
    """A `FeatureClassifier` of labels and pool."""

    title = "a linear classifier of frozen features, fitted to labels and pool together"
    summary = "labels and pool, on frozen features"
    citation = """@inproceedings{zhou2003learning,
  title = {Learning with Local and Global Consistency},
  author = {Zhou, Dengyong and Bousquet, Olivier and Lal, Thomas and Weston, Jason and Sch{\\"o}lkopf, Bernhard},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2003}
}"""


FITTED: dict[str, type[FittedHead]] = {"probe": FittedProbe, "features": FittedFeatures}
