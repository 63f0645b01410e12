"""The table of the benchmark: what USB's paper says of each task, and that each row holds together."""

import inspect
import re

import pytest

from hf_ssl.benchmark.tasks import TASKS, UNCONFIRMED, USB_TASKS, get_task

# arXiv 2208.07204: classes, label settings, examples. Exceptions are the publishers' own counts, named in the notes.
FACTS = {
    "cifar100": (100, (200, 400), {"train": 50_000, "test": 10_000}),
    "stl10": (10, (40, 100), {"train": 5_000, "unlabeled": 100_000, "test": 8_000}),
    "eurosat": (10, (20, 40), {"train": 21_600, "test": 5_400}),
    "tissuemnist": (8, (80, 400), {"train": 165_466, "test": 47_280}),
    "semi_aves": (200, (3_959,), {"train": 5_959, "unlabeled": 26_640, "test": 4_000}),
    "aclImdb": (2, (20, 100), {"train": 23_000, "validation": 2_000, "test": 25_000}),
    "ag_news": (4, (40, 200), {"train": 100_000, "validation": 10_000, "test": 7_600}),
    "amazon_review": (5, (250, 1_000), {"train": 250_000, "validation": 25_000, "test": 65_000}),
    "yelp_review": (5, (250, 1_000), {"train": 250_000, "validation": 25_000, "test": 50_000}),
    "yahoo_answers": (10, (500, 2_000), {"train": 500_000, "validation": 50_000, "test": 60_000}),
    "gtzan": (10, (100, 400), {"train": 7_000, "validation": 1_500, "test": 1_500}),
    "urbansound8k": (10, (100, 400), {"train": 7_079, "validation": 816, "test": 837}),
    "fsdnoisy": (20, (1_773,), {"train": 1_772, "unlabeled": 15_813, "test": 947}),
    "superbks": (10, (50, 100), {"train": 18_538, "validation": 2_577, "test": 2_567}),
    "esc50": (50, (250, 500), {"train": 1_200, "validation": 400, "test": 400}),
}


def test_the_table_has_usb_s_15_tasks_and_two_classics():
    assert tuple(FACTS) == USB_TASKS
    assert list(TASKS) == [*USB_TASKS, "cifar10", "svhn"]
    assert all(task.seeds == (0, 1, 2) for task in TASKS.values())


@pytest.mark.parametrize("name", FACTS)
def test_a_task_is_what_usb_says(name):
    task = TASKS[name]
    assert (len(task.class_names), task.label_settings, dict(task.sizes)) == FACTS[name]


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_a_row_holds_together(task):
    assert len(set(task.class_names)) == len(task.class_names)
    assert task.modality in ("image", "text", "audio")
    if not task.given_labels:
        assert all(number % len(task.class_names) == 0 for number in task.label_settings)
    if task.per_class:
        assert [count * len(task.class_names) for count in task.per_class] == [
            task.sizes["train"],
            task.sizes["validation"],
        ]
    if task.test_per_class:
        assert task.test_per_class * len(task.class_names) == task.sizes["test"]
    assert task.source_url == UNCONFIRMED or task.source_url.startswith("http")
    assert task.checksum is None or re.fullmatch(r"md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}", task.checksum)
    assert task.checksum is None or task.source_url != UNCONFIRMED
    assert task.homepage.startswith("http") and task.citation.startswith("@")
    assert task.license_note or task.license not in ("unknown", "other")
    assert all(note.endswith(".") for note in task.notes)


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_the_settings_of_the_views_are_settings_of_the_views(task):
    from hf_ssl.views import image, text

    if task.modality == "audio":
        from hf_ssl.views.audio import AudioViews as views
    else:
        views = image.ImageViews if task.modality == "image" else text.TextViews
    assert set(task.views) <= set(inspect.signature(views).parameters)
    assert (task.normalization is not None) == (task.modality == "image")


def test_every_reader_is_known_and_used():
    from hf_ssl.benchmark.readers import READERS

    assert {reader for task in TASKS.values() for reader in task.readers} == set(READERS)


def test_unknown_tasks_list_the_known_ones():
    assert get_task("esc50").title == "ESC-50"
    with pytest.raises(ValueError, match=r"unknown task 'imdb'; the known ones are cifar100, stl10, .*aclImdb"):
        get_task("imdb")
