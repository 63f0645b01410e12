"""Text tasks of USB."""

from .task import NO_LICENSE, Task

_STARS = ("1 star", "2 stars", "3 stars", "4 stars", "5 stars")
_VIEWS = {"max_length": 512}

_ZHANG_URL = "https://arxiv.org/abs/1509.01626"
_ZHANG_CITATION = r"""@inproceedings{zhang2015character,
  title = {Character-level Convolutional Networks for Text Classification},
  author = {Zhang, Xiang and Zhao, Junbo and LeCun, Yann},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2015}
}"""

_SPLIT_NOTE = (
    "How USB shuffled the raw rows into train and validation is unconfirmed: in a build from the raw files the "
    "counts are USB's and the rows are this package's choice (per class, `numpy.random.RandomState(0)`). USB's own "
    "JSON files are taken as they are."
)
_COPY_NOTE = (
    "The publisher's own download is unconfirmed; public code commonly uses the copy at "
    "https://s3.amazonaws.com/fast-ai-nlp/{}_csv.tgz."
)

TEXTS = (
    Task(
        name="aclImdb",
        title="IMDB",
        modality="text",
        class_names=("neg", "pos"),
        label_settings=(20, 100),
        sizes={"train": 23_000, "validation": 2_000, "test": 25_000},
        readers=("text_folders", "usb_json", "csv", "datasets"),
        license="unknown",
        license_note=NO_LICENSE,
        homepage="https://ai.stanford.edu/~amaas/data/sentiment/",
        citation=r"""@inproceedings{maas2011learning,
  title = {Learning Word Vectors for Sentiment Analysis},
  author = {Maas, Andrew L. and Daly, Raymond E. and Pham, Peter T. and Huang, Dan and Ng, Andrew Y. and
            Potts, Christopher},
  booktitle = {Proceedings of the 49th Annual Meeting of the Association for Computational Linguistics: Human Language
               Technologies},
  year = {2011}
}""",
        source_url="https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
        hub_id="stanfordnlp/imdb",
        views=_VIEWS,
        per_class=(11_500, 1_000),
        notes=(_SPLIT_NOTE,),
    ),
    Task(
        name="ag_news",
        title="AG News",
        modality="text",
        class_names=("World", "Sports", "Business", "Sci/Tech"),
        label_settings=(40, 200),
        sizes={"train": 100_000, "validation": 10_000, "test": 7_600},
        readers=("csv", "usb_json", "datasets"),
        license="unknown",
        license_note="The dataset's readme allows research and any other non-commercial activity.",
        homepage="http://groups.di.unipi.it/~gulli/AG_corpus_of_news_articles.html",
        citation=_ZHANG_CITATION,
        hub_id="fancyzhx/ag_news",
        views=_VIEWS,
        per_class=(25_000, 2_500),
        notes=(_SPLIT_NOTE, _COPY_NOTE.format("ag_news")),
    ),
    Task(
        name="amazon_review",
        title="Amazon Review",
        modality="text",
        class_names=_STARS,
        label_settings=(250, 1_000),
        sizes={"train": 250_000, "validation": 25_000, "test": 65_000},
        readers=("csv", "usb_json", "datasets"),
        license="unknown",
        license_note=NO_LICENSE,
        homepage=_ZHANG_URL,
        citation=_ZHANG_CITATION
        + r"""
@inproceedings{mcauley2013hidden,
  title = {Hidden Factors and Hidden Topics: Understanding Rating Dimensions with Review Text},
  author = {McAuley, Julian and Leskovec, Jure},
  booktitle = {Proceedings of the 7th ACM Conference on Recommender Systems},
  year = {2013}
}""",
        views=_VIEWS,
        per_class=(50_000, 5_000),
        test_per_class=13_000,
        notes=(
            _SPLIT_NOTE,
            "USB tests on 65,000 of the 650,000 raw test rows; which ones is unconfirmed. Here they are the first "
            "13,000 of each class.",
            _COPY_NOTE.format("amazon_review_full"),
        ),
    ),
    Task(
        name="yelp_review",
        title="Yelp Review",
        modality="text",
        class_names=_STARS,
        label_settings=(250, 1_000),
        sizes={"train": 250_000, "validation": 25_000, "test": 50_000},
        readers=("csv", "usb_json", "datasets"),
        license="other",
        license_note="Yelp's dataset terms apply; what they say about redistributing this version is unconfirmed.",
        homepage="https://www.yelp.com/dataset",
        citation=_ZHANG_CITATION,
        hub_id="Yelp/yelp_review_full",
        views=_VIEWS,
        per_class=(50_000, 5_000),
        notes=(_SPLIT_NOTE, _COPY_NOTE.format("yelp_review_full")),
    ),
    Task(
        name="yahoo_answers",
        title="Yahoo! Answers",
        modality="text",
        class_names=(
            "Society & Culture",
            "Science & Mathematics",
            "Health",
            "Education & Reference",
            "Computers & Internet",
            "Sports",
            "Business & Finance",
            "Entertainment & Music",
            "Family & Relationships",
            "Politics & Government",
        ),
        label_settings=(500, 2_000),
        sizes={"train": 500_000, "validation": 50_000, "test": 60_000},
        readers=("csv", "usb_json", "datasets"),
        license="unknown",
        license_note=NO_LICENSE,
        homepage=_ZHANG_URL,
        citation=_ZHANG_CITATION,
        views=_VIEWS,
        per_class=(50_000, 5_000),
        notes=(_SPLIT_NOTE, _COPY_NOTE.format("yahoo_answers")),
    ),
)
