"""The tasks of the USB benchmark (arXiv 2208.07204): one row each, and the classic CIFAR-10 and SVHN.

A row says what is published of a task, where its raw data comes from, and how USB splits it and looks at it. Whatever could
not be confirmed at its source is `UNCONFIRMED`, here and in the card. Class names, citations and notes, being long, stand
in `class_names.py`, `citations.py` and `notes.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from . import citations, class_names, notes

UNCONFIRMED = "unconfirmed"

CIFAR_COLORS = {"mean": (129.3 / 255, 124.1 / 255, 112.4 / 255), "std": (68.2 / 255, 65.4 / 255, 70.4 / 255)}
STL_COLORS = {"mean": (112.4 / 255, 109.1 / 255, 98.6 / 255), "std": (68.4 / 255, 66.6 / 255, 68.5 / 255)}
IMAGENET_COLORS = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
HALF = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}


@dataclass(frozen=True)
class Task:
    """One task of the benchmark.

    Args:
        name: USB's name of it; its Hub repository is `usb-<name>`.
        title: name for people.
        modality: "image", "text" or "audio"; also the name of the input column.
        class_names: in the order of the class indices.
        label_settings: how many labels are given: one configuration for each and for each of `seeds`. With `given_labels` this
            is USB's name of the setting, which need not be the exact count (see `notes`).
        sizes: rows of each published split: "train", "unlabeled", "validation", "test".
        readers: names of the readers of `hf_ssl.benchmark.readers` that understand its raw forms, most common first.
        licence: for the card's metadata, as the Hub spells licences.
        homepage, citation: of the dataset; BibTeX.
        licence_note: what is known about the licence beyond its name.
        redistribution_forbidden: whether its terms forbid to pass the data on, so that only a private repository may hold it.
        source_url: where the publisher offers the raw data, or a copy that torchvision or torchaudio trusts.
        checksum: "md5:..." or "sha256:..." of the file at `source_url`, if its publisher, torchvision or torchaudio states it.
        hub_id: a faithful copy on the Hub that the `datasets` reader takes, or None.
        backbone: Hub id of the pretrained model to start from by default, the closest to `usb_backbone` that is on the Hub.
        usb_backbone: what USB starts from.
        normalisation: USB's "mean" and "std" of the RGB channels, for images.
        views: USB's settings of the views, by the names that `ImageViews`, `TextViews` or `AudioViews` take.
        seeds: of the draws.
        label_column: of the published splits; -1 where an example has no label.
        per_class: rows of each class that become (train, validation) after a shuffle, for text.
        test_per_class: rows of each class that are kept of the raw test rows, the first ones; None keeps all.
        train_share: share of each class, in the source's order, that becomes train; the rest is test.
        shuffle_first: whether the pool is permuted before labels are drawn.
        given_labels: whether all of train is the labeled set, whatever the seed, and the pool is `unlabeled` alone.
        deduplicate_pool: offer each setting also with a pool that lacks the images of the test set.
        notes: what a reader of the card should know, in full sentences.
    """

    name: str
    title: str
    modality: str
    class_names: tuple[str, ...]
    label_settings: tuple[int, ...]
    sizes: Mapping[str, int]
    readers: tuple[str, ...]
    licence: str
    homepage: str
    citation: str
    licence_note: str = ""
    redistribution_forbidden: bool = False
    source_url: str = UNCONFIRMED
    checksum: str | None = None
    hub_id: str | None = None
    backbone: str = "google-bert/bert-base-uncased"
    usb_backbone: str = "BERT-base uncased"
    normalisation: Mapping[str, tuple[float, ...]] | None = None
    views: Mapping[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0, 1, 2)
    label_column: str = "label"
    per_class: tuple[int, int] | None = None
    test_per_class: int | None = None
    train_share: float | None = None
    shuffle_first: bool = False
    given_labels: bool = False
    deduplicate_pool: bool = False
    notes: tuple[str, ...] = ()


_NO_LICENCE = "The publisher states no licence that could be confirmed."


_ROWS = (
    Task(
        name="cifar100",
        title="CIFAR-100",
        modality="image",
        class_names=class_names.CIFAR100,
        label_settings=(200, 400),
        sizes={"train": 50_000, "test": 10_000},
        readers=("cifar_pickles", "datasets"),
        licence="unknown",
        homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
        citation=citations.CIFAR,
        licence_note="The publisher's page states none and asks to cite the report.",
        source_url="https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
        checksum="md5:eb9058c3a382ffc7106e4002c42a8d85",
        hub_id="uoft-cs/cifar100",
        backbone="WinKawaks/vit-small-patch16-224",
        usb_backbone="ViT-S/2 at 32 px",
        normalisation=CIFAR_COLORS,
        views={"size": 32, "crop_ratio": 0.875},
    ),
    Task(
        name="stl10",
        title="STL-10",
        modality="image",
        class_names=class_names.STL10,
        label_settings=(40, 100),
        sizes={"train": 5_000, "unlabeled": 100_000, "test": 8_000},
        readers=("stl_binaries", "datasets"),
        licence="unknown",
        homepage="https://cs.stanford.edu/~acoates/stl10/",
        citation=citations.STL10,
        licence_note=_NO_LICENCE,
        source_url="http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",
        checksum="md5:91f7769df0f17e558f3565bffb0c7dfb",
        backbone="google/vit-base-patch16-224-in21k",
        usb_backbone="ViT-B/16 at 96 px",
        normalisation=STL_COLORS,
        views={"size": 96, "crop_ratio": 0.875},
        deduplicate_pool=True,
        notes=notes.STL10,
    ),
    Task(
        name="eurosat",
        title="EuroSAT",
        modality="image",
        class_names=class_names.EUROSAT,
        label_settings=(20, 40),
        sizes={"train": 21_600, "test": 5_400},
        readers=("class_folders", "datasets"),
        licence="mit",
        homepage="https://github.com/phelber/EuroSAT",
        citation=citations.EUROSAT,
        licence_note="Of the publisher's repository; the pictures are made from Copernicus Sentinel-2 data.",
        source_url="https://huggingface.co/datasets/torchgeo/eurosat/resolve/c877bcd43f099cd0196738f714544e355477f3fd/EuroSAT.zip",
        checksum="md5:c8fa014336c82ac7804f0398fcb19387",
        backbone="WinKawaks/vit-small-patch16-224",
        usb_backbone="ViT-S/2 at 32 px",
        normalisation=HALF,
        views={"size": 32, "crop_ratio": 0.875, "vertical_flip": True},
        train_share=0.8,
        shuffle_first=True,
        notes=notes.EUROSAT,
    ),
    Task(
        name="tissuemnist",
        title="TissueMNIST",
        modality="image",
        class_names=class_names.TISSUEMNIST,
        label_settings=(80, 400),
        sizes={"train": 165_466, "test": 47_280},
        readers=("npz", "datasets"),
        licence="cc-by-4.0",
        homepage="https://medmnist.com/",
        citation=citations.TISSUEMNIST,
        source_url="https://zenodo.org/record/6496656/files/tissuemnist.npz?download=1",
        checksum="md5:ebe78ee8b05294063de985d821c1c34b",
        backbone="WinKawaks/vit-tiny-patch16-224",
        usb_backbone="ViT-Ti/2 at 32 px",
        normalisation=HALF,
        views={"size": 32, "crop_ratio": 0.95, "vertical_flip": True, "color_operations": False},
        shuffle_first=True,
        notes=notes.TISSUEMNIST,
    ),
    Task(
        name="semi_aves",
        title="Semi-Aves",
        modality="image",
        class_names=class_names.SEMI_AVES,
        label_settings=(3_959,),
        sizes={"train": 5_959, "unlabeled": 26_640, "test": 4_000},
        readers=("list_files", "datasets"),
        licence="other",
        homepage="https://github.com/cvl-umass/semi-inat-2020",
        citation=citations.SEMI_AVES,
        licence_note="Terms of the publisher: iNaturalist's terms of service, non-commercial research and education only, and "
        "the images may not be distributed.",
        redistribution_forbidden=True,
        source_url="https://github.com/cvl-umass/semi-inat-2020",
        backbone="WinKawaks/vit-small-patch16-224",
        usb_backbone="ViT-S/16 at 224 px",
        normalisation=IMAGENET_COLORS,
        views={"size": 224, "crop_ratio": 0.875},
        test_per_class=20,
        given_labels=True,
        notes=notes.SEMI_AVES,
    ),
    Task(
        name="aclImdb",
        title="IMDB",
        modality="text",
        class_names=class_names.IMDB,
        label_settings=(20, 100),
        sizes={"train": 23_000, "validation": 2_000, "test": 25_000},
        readers=("text_folders", "usb_json", "csv", "datasets"),
        licence="unknown",
        homepage="https://ai.stanford.edu/~amaas/data/sentiment/",
        citation=citations.IMDB,
        licence_note=_NO_LICENCE,
        source_url="https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
        hub_id="stanfordnlp/imdb",
        views={"max_length": 512},
        per_class=(11_500, 1_000),
        notes=notes.IMDB,
    ),
    Task(
        name="ag_news",
        title="AG News",
        modality="text",
        class_names=class_names.AG_NEWS,
        label_settings=(40, 200),
        sizes={"train": 100_000, "validation": 10_000, "test": 7_600},
        readers=("csv", "usb_json", "datasets"),
        licence="unknown",
        homepage="http://groups.di.unipi.it/~gulli/AG_corpus_of_news_articles.html",
        citation=citations.ZHANG,
        licence_note="The dataset's readme allows research and any other non-commercial activity.",
        hub_id="fancyzhx/ag_news",
        views={"max_length": 512},
        per_class=(25_000, 2_500),
        notes=notes.AG_NEWS,
    ),
    Task(
        name="amazon_review",
        title="Amazon Review",
        modality="text",
        class_names=class_names.STARS,
        label_settings=(250, 1_000),
        sizes={"train": 250_000, "validation": 25_000, "test": 65_000},
        readers=("csv", "usb_json", "datasets"),
        licence="unknown",
        homepage="https://arxiv.org/abs/1509.01626",
        citation=citations.AMAZON,
        licence_note=_NO_LICENCE,
        views={"max_length": 512},
        per_class=(50_000, 5_000),
        test_per_class=13_000,
        notes=notes.AMAZON_REVIEW,
    ),
    Task(
        name="yelp_review",
        title="Yelp Review",
        modality="text",
        class_names=class_names.STARS,
        label_settings=(250, 1_000),
        sizes={"train": 250_000, "validation": 25_000, "test": 50_000},
        readers=("csv", "usb_json", "datasets"),
        licence="other",
        homepage="https://www.yelp.com/dataset",
        citation=citations.ZHANG,
        licence_note="Yelp's dataset terms apply; what they say about passing this version on is unconfirmed.",
        hub_id="Yelp/yelp_review_full",
        views={"max_length": 512},
        per_class=(50_000, 5_000),
        notes=notes.YELP_REVIEW,
    ),
    Task(
        name="yahoo_answers",
        title="Yahoo! Answers",
        modality="text",
        class_names=class_names.YAHOO_ANSWERS,
        label_settings=(500, 2_000),
        sizes={"train": 500_000, "validation": 50_000, "test": 60_000},
        readers=("csv", "usb_json", "datasets"),
        licence="unknown",
        homepage="https://arxiv.org/abs/1509.01626",
        citation=citations.ZHANG,
        licence_note=_NO_LICENCE,
        views={"max_length": 512},
        per_class=(50_000, 5_000),
        notes=notes.YAHOO_ANSWERS,
    ),
    Task(
        name="gtzan",
        title="GTZAN",
        modality="audio",
        class_names=class_names.GTZAN,
        label_settings=(100, 400),
        sizes={"train": 7_000, "validation": 1_500, "test": 1_500},
        readers=("gtzan", "usb_audio_pickles", "datasets"),
        licence="unknown",
        homepage="http://marsyas.info/downloads/datasets.html",
        citation=citations.GTZAN,
        licence_note=_NO_LICENCE,
        source_url="http://opihi.cs.uvic.ca/sound/genres.tar.gz",
        checksum="sha256:24347e0223d2ba798e0a558c4c172d9d4a19c00bb7963fe055d183dadb4ef2c6",
        backbone="facebook/wav2vec2-base",
        usb_backbone="wav2vec 2.0 base",
        views={"max_length_seconds": 3.0},
        notes=notes.GTZAN,
    ),
    Task(
        name="urbansound8k",
        title="UrbanSound8K",
        modality="audio",
        class_names=class_names.URBANSOUND8K,
        label_settings=(100, 400),
        sizes={"train": 7_079, "validation": 816, "test": 837},
        readers=("urbansound8k", "usb_audio_pickles", "datasets"),
        licence="cc-by-nc-4.0",
        homepage="https://urbansounddataset.weebly.com/urbansound8k.html",
        citation=citations.URBANSOUND8K,
        licence_note="Its Zenodo page says CC BY-NC 4.0, its readme CC BY-NC 3.0.",
        source_url="https://zenodo.org/record/1203745/files/UrbanSound8K.tar.gz?download=1",
        backbone="facebook/hubert-base-ls960",
        usb_backbone="HuBERT base",
        views={"max_length_seconds": 4.0},
        notes=notes.URBANSOUND8K,
    ),
    Task(
        name="fsdnoisy",
        title="FSDnoisy18k",
        modality="audio",
        class_names=class_names.FSDNOISY18K,
        label_settings=(1_773,),
        sizes={"train": 1_772, "unlabeled": 15_813, "test": 947},
        readers=("fsdnoisy18k", "usb_audio_pickles", "datasets"),
        licence="cc",
        homepage="http://www.eduardofonseca.net/FSDnoisy18k/",
        citation=citations.FSDNOISY18K,
        licence_note="The collection is CC BY (the version of the licence is unconfirmed); each clip is CC BY or CC0, as its "
        "list of clips says.",
        source_url="https://zenodo.org/record/2529934",
        backbone="facebook/hubert-base-ls960",
        usb_backbone="HuBERT base",
        views={"max_length_seconds": 5.0},
        given_labels=True,
        notes=notes.FSDNOISY18K,
    ),
    Task(
        name="superbks",
        title="Keyword Spotting",
        modality="audio",
        class_names=class_names.KEYWORDS,
        label_settings=(50, 100),
        sizes={"train": 18_538, "validation": 2_577, "test": 2_567},
        readers=("speech_commands", "usb_audio_pickles", "datasets"),
        licence="cc-by-4.0",
        homepage="https://arxiv.org/abs/1804.03209",
        citation=citations.SPEECH_COMMANDS,
        source_url="http://download.tensorflow.org/data/speech_commands_v0.01.tar.gz",
        checksum="sha256:743935421bb51cccdb6bdd152e04c5c70274e935c82119ad7faeec31780d811d",
        backbone="facebook/wav2vec2-base",
        usb_backbone="wav2vec 2.0 base",
        views={"max_length_seconds": 1.0},
        notes=notes.KEYWORDS,
    ),
    Task(
        name="esc50",
        title="ESC-50",
        modality="audio",
        class_names=class_names.ESC50,
        label_settings=(250, 500),
        sizes={"train": 1_200, "validation": 400, "test": 400},
        readers=("esc50", "usb_audio_pickles", "datasets"),
        licence="cc-by-nc-3.0",
        homepage="https://github.com/karolpiczak/ESC-50",
        citation=citations.ESC50,
        licence_note="The subset ESC-10 is CC BY.",
        source_url="https://github.com/karoldvl/ESC-50/archive/master.zip",
        backbone="facebook/hubert-base-ls960",
        usb_backbone="HuBERT base",
        views={"max_length_seconds": 5.0},
        notes=notes.ESC50,
    ),
)

_CLASSIC = (
    Task(
        name="cifar10",
        title="CIFAR-10",
        modality="image",
        class_names=class_names.CIFAR10,
        label_settings=(40, 250, 4_000),
        sizes={"train": 50_000, "test": 10_000},
        readers=("cifar_pickles", "datasets"),
        licence="unknown",
        homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
        citation=citations.CIFAR,
        licence_note="The publisher's page states none and asks to cite the report.",
        source_url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        checksum="md5:c58f30108f718f92721af3b95e74349a",
        hub_id="uoft-cs/cifar10",
        backbone="WinKawaks/vit-small-patch16-224",
        usb_backbone="none: Wide ResNet 28-2 from scratch",
        normalisation=CIFAR_COLORS,
        views={"size": 32, "crop_ratio": 0.875},
    ),
    Task(
        name="svhn",
        title="SVHN",
        modality="image",
        class_names=class_names.DIGITS,
        label_settings=(40, 250, 1_000),
        sizes={"train": 73_257, "test": 26_032},
        readers=("svhn_mat", "datasets"),
        licence="other",
        homepage="http://ufldl.stanford.edu/housenumbers/",
        citation=citations.SVHN,
        licence_note="The publisher allows non-commercial use only.",
        source_url="http://ufldl.stanford.edu/housenumbers/train_32x32.mat",
        checksum="md5:e26dedcc434d2e4c54c9b2d4a06d8373",
        backbone="WinKawaks/vit-small-patch16-224",
        usb_backbone="none: Wide ResNet 28-2 from scratch",
        normalisation=HALF,
        views={"size": 32, "crop_ratio": 0.875, "horizontal_flip": False},
        notes=notes.SVHN,
    ),
)

USB_TASKS: tuple[str, ...] = tuple(task.name for task in _ROWS)
TASKS: dict[str, Task] = {task.name: task for task in (*_ROWS, *_CLASSIC)}


def get_task(name: str) -> Task:
    """The task of this name.

    Raises:
        ValueError: if there is none; the message lists the names.
    """
    if name not in TASKS:
        raise ValueError(f"unknown task {name!r}; the known ones are {', '.join(TASKS)}")
    return TASKS[name]
