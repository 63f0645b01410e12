"""The recommendation rests on USB's published numbers."""

import csv
from pathlib import Path

import pytest

from hf_ssl.cli import main
from hf_ssl.cli.recommend import load_results, rank, views_per_step

SHARED = Path(__file__).parents[3] / "shared" / "usb"
FILES = {"image": "usb_cv.csv", "text": "usb_nlp.csv", "audio": "usb_audio.csv"}
THEIR_NAMES = {"pseudo_label": "pseudolabel", "mean_teacher": "meanteacher", "pi_model": "pimodel"}
THEIR_NAMES |= {"fully_supervised": "fullysupervised"}


@pytest.mark.skipif(not SHARED.is_dir(), reason="USB's tables are not here")
@pytest.mark.parametrize("modality", FILES)
def test_the_numbers_are_the_published_ones(modality):
    rows = list(csv.DictReader((SHARED / FILES[modality]).open(encoding="utf-8-sig")))
    results = load_results()[modality]
    published = {row.pop(""): row for row in rows}
    assert set(published) == {THEIR_NAMES.get(name, name) for name in results.errors}
    for name, mine in results.errors.items():
        theirs = published[THEIR_NAMES.get(name, name)]
        assert {setting: f"{value:g}±{spread:g}" for setting, (value, spread) in mine.items()} == {
            setting: "±".join(f"{float(part):g}" for part in cell.split("±"))
            for setting, cell in theirs.items()
            if cell != "None"
        }


@pytest.mark.parametrize(
    ("modality", "setting", "labels"),
    [
        ("image", "cifar100_200", 2),
        ("text", "aclImdb_20", 10),
        ("audio", "esc50_500", 10),
        ("image", "semi_aves_3959", 20),
    ],
)
def test_labels_per_class_follow_from_the_setting(modality, setting, labels):
    assert load_results()[modality].labels_per_class[setting] == labels


def test_ranks_and_means_by_hand():
    # Texts with 10 labels per class: IMDB with 20 labels and AG News with 40.
    choices, settings = rank("text", few=True)
    assert settings == ["aclImdb_20", "ag_news_40"]
    by_name = {choice.algorithm: choice for choice in choices}
    assert by_name["softmatch"].error == pytest.approx((7.76 + 11.9) / 2)
    # CoMatch has the lowest error on IMDB (7.44); on AG News SoftMatch (11.9), AdaMatch (11.73) are below its 11.95.
    assert by_name["comatch"].rank == (1 + 3) / 2
    assert by_name["remixmatch"].wins == 0 and by_name["comatch"].wins == 2


def test_the_budget_counts_views():
    assert views_per_step("fixmatch", "image") == 2
    assert views_per_step("comatch", "image") == 3
    assert views_per_step("crmatch", "image") == 3 and views_per_step("crmatch", "text") == 2
    assert all(views_per_step(choice.algorithm, "image") <= 2 for choice in rank("image", True, 2)[0])


def test_the_table_has_a_row_for_each_case(capsys):
    assert main(["algorithms", "--recommend"]) == 0
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert [line.split()[0] for line in lines[2:14]] == ["images"] * 4 + ["texts"] * 4 + ["recordings"] * 4
    # Every number of labels has its row, also those that were not measured, such as 20 for texts.
    texts = [line.split() for line in lines if line.startswith("texts")]
    assert [row[1:4] for row in texts] == [["up", "to", "22"]] * 2 + [["23", "and", "more"]] * 2
    assert [" ".join(row[4:7]) for row in texts] == ["10 two views", "10 any number", "50 to 200", "50 to 200"]
    assert "arXiv 2208.07204" in text and "remixmatch (0 of 10)" in text
