"""What a row of the table of tasks says."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# What could not be confirmed at its source, in the table and on the cards.
UNCONFIRMED = "unconfirmed"


@dataclass(frozen=True)
class LongTail:
    """A long-tailed setting of a task: class sizes of the labeled set and of the pool.

    Args:
        num_labeled: N_1, labeled examples of the most frequent class.
        num_unlabeled: M_1, that of the pool; None if the pool is the task's own unlabeled split, as it is.
        labeled_imbalance: gamma of the labeled set, see `hf_ssl.benchmark.splits.class_sizes`.
        unlabeled_imbalance: gamma of the pool, negative if its classes are reversed; None likewise.

    Example:
        >>> LongTail(1500, 3000, 100, -100).name
        'longtail1500_3000_gamma100_reversed100'
        >>> LongTail(150, None, 10, None).name
        'longtail150_gamma10'
    """

    num_labeled: int
    num_unlabeled: int | None
    labeled_imbalance: float
    unlabeled_imbalance: float | None

    @property
    def name(self) -> str:
        """That of the configurations, before the seed."""
        gamma = f"gamma{self.labeled_imbalance:g}"
        if self.unlabeled_imbalance is None:
            return f"longtail{self.num_labeled}_{gamma}"
        pool = f"{'reversed' if self.unlabeled_imbalance < 0 else ''}{abs(self.unlabeled_imbalance):g}"
        return f"longtail{self.num_labeled}_{self.num_unlabeled}_{gamma}_{pool}"


@dataclass(frozen=True)
class Task:
    """One task of the benchmark: what is published about it, where its raw data comes from, and how USB uses it.

    Args:
        name: USB's name for it; its Hub repository is `usb-<name>`.
        title: name for people.
        modality: "image", "text" or "audio"; also the name of the input column.
        class_names: in the order of the class indices, spelled as the publisher spells them.
        label_settings: numbers of labeled examples: one configuration for each of them and each of `seeds`. With
            `given_labels` this is USB's name for the setting, which need not be the exact count (see `notes`).
        sizes: rows of each published split: "train", "unlabeled", "validation", "test".
        readers: names of the readers in `hf_ssl.benchmark.readers` that understand its raw forms, most common first.
        license: for the card's metadata, as the Hub spells licenses.
        homepage: of the dataset.
        citation: BibTeX of the dataset.
        license_note: what is known about the license beyond its name.
        redistribution_forbidden: whether its terms do not allow redistributing the data, so that only a private
            repository may hold it.
        source_url: where the publisher offers the raw data, or a copy that torchvision or torchaudio trusts.
        checksum: "md5:..." or "sha256:..." of the file at `source_url`, if its publisher, torchvision or torchaudio
            states it.
        hub_id: a faithful copy on the Hub that the `datasets` reader takes, or None.
        backbone: Hub id of the pretrained model to start from by default: the closest to `usb_backbone` on the Hub.
        usb_backbone: what USB starts from.
        normalization: USB's "mean" and "std" of the RGB channels, for images.
        views: USB's settings of the views, under the names that `ImageViews`, `TextViews` or `AudioViews` take.
        seeds: of the draws.
        label_column: of the published splits; -1 if an example has no label.
        per_class: rows per class that become (train, validation) after a shuffle, for text.
        test_per_class: rows per class that are kept of the raw test rows, the first ones; None keeps all.
        train_share: share of each class, in the source's order, that becomes train; the rest is test.
        shuffle_first: whether the pool is permuted before labels are drawn.
        given_labels: whether all of train is the labeled set, for every seed, and the pool is `unlabeled` alone.
        long_tails: long-tailed settings, one configuration for each of them and each of `seeds`. Their pool does not
            contain the labeled examples, as in USB's runs; that of the other configurations does.
        deduplicate_pool: offer each setting also with a pool without the images of the test set.
        notes: what a reader of the card should know, in full sentences.

    Example:
        >>> from dataclasses import replace
        >>> from hf_ssl.benchmark import TASKS
        >>> smaller = replace(TASKS["esc50"], label_settings=(50,), seeds=(0,))
        >>> smaller.sizes["train"], smaller.class_names[:3]
        (1200, ('dog', 'rooster', 'pig'))
    """

    name: str
    title: str
    modality: str
    class_names: tuple[str, ...]
    label_settings: tuple[int, ...]
    sizes: Mapping[str, int]
    readers: tuple[str, ...]
    license: str
    homepage: str
    citation: str
    license_note: str = ""
    redistribution_forbidden: bool = False
    source_url: str = UNCONFIRMED
    checksum: str | None = None
    hub_id: str | None = None
    backbone: str = "google-bert/bert-base-uncased"
    usb_backbone: str = "BERT-base uncased"
    normalization: Mapping[str, tuple[float, ...]] | None = None
    views: Mapping[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0, 1, 2)
    label_column: str = "label"
    per_class: tuple[int, int] | None = None
    test_per_class: int | None = None
    train_share: float | None = None
    shuffle_first: bool = False
    given_labels: bool = False
    deduplicate_pool: bool = False
    long_tails: tuple[LongTail, ...] = ()
    notes: tuple[str, ...] = ()


NO_LICENSE = "The publisher states no license that could be confirmed."


def words(text: str) -> tuple[str, ...]:
    """Class names that hold no spaces, written as running text.

    Example:
        >>> words("cat dog")
        ('cat', 'dog')
    """
    return tuple(text.split())
