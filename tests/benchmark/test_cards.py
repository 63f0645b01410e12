"""The dataset cards: checked in for people to read, and the same as the package renders."""

import csv
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from hf_ssl.benchmark import TASKS, repository
from hf_ssl.benchmark.baselines import published_errors
from hf_ssl.benchmark.cards import render_card
from hf_ssl.benchmark.tasks import USB_TASKS

ROOT = Path(__file__).resolve().parents[2]
TABLES = ROOT.parent / "shared" / "usb"


def metadata(card: str) -> dict:
    return yaml.safe_load(card.split("---\n")[1])


@pytest.mark.parametrize("name", USB_TASKS)
def test_the_checked_in_card_is_what_is_rendered(name):
    path = ROOT / "hub_cards" / f"usb-{name}.md"
    assert path.read_text(encoding="utf-8") == render_card(TASKS[name]), "run: python -m hf_ssl.benchmark.cards"


def test_there_is_no_other_card():
    assert {path.name for path in (ROOT / "hub_cards").iterdir()} == {f"usb-{name}.md" for name in USB_TASKS}


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_the_metadata_are_what_the_hub_reads(task):
    found = metadata(render_card(task))
    assert found["license"] == task.license
    assert found["task_categories"] == [f"{task.modality}-classification"]
    assert len(found["size_categories"]) == 1
    names = [entry["config_name"] for entry in found["configs"]]
    assert names == list(repository.configurations(task))
    settings = len(task.label_settings) * (2 if task.deduplicate_pool else 1) + len(task.long_tails)
    assert len(names) == 1 + settings * len(task.seeds)
    assert [entry["config_name"] for entry in found["configs"] if entry.get("default")] == ["full"]


def test_configurations_share_files():
    configurations = repository.configurations(TASKS["aclImdb"])
    assert configurations["labels20_seed1"] == {
        "labeled": ["labels/20-seed1.parquet"],
        "unlabeled": ["data/train-*.parquet"],
        "validation": ["data/validation-*.parquet"],
        "test": ["data/test-*.parquet"],
    }
    given = repository.configurations(TASKS["fsdnoisy"])
    assert given["labels1773_seed0"] == given["labels1773_seed2"]
    assert given["labels1773_seed0"]["labeled"] == ["data/train-*.parquet"]


def test_sizes_are_counted_over_all_splits():
    assert metadata(render_card(TASKS["esc50"]))["size_categories"] == ["1K<n<10K"]
    assert metadata(render_card(TASKS["aclImdb"]))["size_categories"] == ["10K<n<100K"]
    assert metadata(render_card(TASKS["stl10"]))["size_categories"] == ["100K<n<1M"]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("cifar100", "| `fixmatch` | 29.60 ± 0.90 | 19.56 ± 0.52 |"),
        ("stl10", "| `crmatch` | 10.17 ± 0.00 | - |"),
        ("semi_aves", "| `remixmatch` | 30.20 ± 0.03 |"),
        ("esc50", "| `supervised` | 49.83 ± 1.71 | 38.75 ± 1.47 |"),
    ],
)
def test_a_card_has_usb_s_numbers(name, line):
    card = render_card(TASKS[name])
    assert line in card.splitlines()
    assert "2208.07204" in card and "seeds 0, 1 and 2" in card and "best over its training" in card


@pytest.mark.skipif(not TABLES.exists(), reason="USB's tables are not there")
def test_every_number_is_that_of_usb_s_tables():
    count = 0
    for path in TABLES.glob("usb_*.csv"):
        with open(path, encoding="utf-8-sig") as file:
            rows = list(csv.reader(file))
        for position, column in enumerate(rows[0][1:], 1):
            task, _, labels = column.rpartition("_")
            known = list(published_errors(task, int(labels)).values())
            for row, value in zip(rows[1:], known, strict=True):
                assert (
                    row[position] == "None" if value is None else tuple(map(float, row[position].split("±"))) == value
                )
                count += 1
    assert count == 19 * 9 + 18 * (10 + 9)


def test_what_is_unconfirmed_is_said():
    card = render_card(TASKS["amazon_review"])
    assert "| raw data | unconfirmed |" in card and "which ones is unconfirmed" in card
    assert "its terms do not allow redistributing the data" in render_card(TASKS["semi_aves"])


@pytest.mark.parametrize("name", TASKS)
def test_a_card_names_no_local_path(name):
    assert re.findall(r"(?<![\w/:.>-])[/~][\w.-]+/[\w./-]+", render_card(TASKS[name])) == []


def test_the_cards_are_written_by_one_command(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "hf_ssl.benchmark.cards"],
        cwd=tmp_path,
        check=True,
        timeout=120,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
    )
    assert {path.name for path in (tmp_path / "hub_cards").iterdir()} == {f"usb-{name}.md" for name in USB_TASKS}


def test_the_wheel_carries_every_file_of_the_package():
    """setup.cfg names the files beside the modules, or a person who installed the wheel could not publish."""
    from configparser import ConfigParser

    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    declared = {
        path
        for package, patterns in config["options.package_data"].items()
        for pattern in patterns.split()
        # "*" is every package.
        for path in (ROOT / ("hf_ssl" if package == "*" else package.replace(".", "/"))).rglob(pattern)
    }
    beside = {
        p for p in (ROOT / "hf_ssl").rglob("*") if p.is_file() and p.suffix != ".py" and "__pycache__" not in p.parts
    }
    assert beside <= declared and ROOT / "hf_ssl" / "benchmark" / "baselines.json" in beside


@pytest.mark.parametrize("name", ["a | b", "a\n# b", "<script>", "[x](https://evil.example)", "```\nx"])
def test_names_change_nothing_of_a_card(name):
    """Whatever a task and the record of its build call things, the card has the same lines."""
    task = TASKS["yahoo_answers"]
    draws = repository.draws_of(task)[:1]

    def lines(name):
        record = {
            "splits": {split: {"rows": 5} for split in ("train", "test", name)},
            "draws": {
                f"labels{number}_seed{seed}": {
                    "labeled": 4,
                    "labeled_sha256": name,
                    "num_labeled": number,
                    "seed": seed,
                }
                for number, seed in draws
            },
            "overlap_with_test": {name: 0},
            "hf_ssl": name,
            "checksum": name,
            "augmentation": None,
        }
        classes = (name, *task.class_names[1:])
        card = render_card(replace(task, class_names=classes, title=name, hub_id=name), record)
        return card.split("\n---\n", 1)[1].splitlines()

    usual, hostile = lines("usual"), lines(name)
    assert len(usual) == len(hostile)
    for line, model in zip(hostile, usual, strict=True):
        assert line.startswith(("#", "|", "```")) == model.startswith(("#", "|", "```"))
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) == len(re.findall(r"(?<!\\)\|", model))
    text = re.sub(r"(```+).*?\1|(`+).*?\2", "", "\n".join(hostile), flags=re.DOTALL)
    assert not re.search(r"(?<!\\)<script", text) and "](https://evil" not in text
