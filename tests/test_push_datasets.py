"""Publishing benchmark tasks: what the server does wrong, and what others then load, whole and as a stream."""

from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import DatasetCard

from hf_ssl.benchmark import TASKS, build_task

from benchmark_sources import make_source
from hub_client import run_client
from loopback_hub import TOKEN, LoopbackHub

CARDS = sorted(Path(__file__).resolve().parents[1].joinpath("hub_cards").glob("*.md"))


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.stem)
def test_the_cards_parse(path):
    card = DatasetCard.load(path)
    assert card.data.license and card.data.configs and card.data.task_categories
    assert card.data.to_yaml() == DatasetCard(str(card)).data.to_yaml()
    assert "\n# " in card.content and "More information needed" not in card.content


PUBLISH = """
import sys
def publish(namespace, *options):
    return cli("benchmark", "publish", "ag_news", "--namespace", namespace, "--folder", sys.argv[1], *options)

# Some of the files arrive, then the server dies.
fail("/upload/", 1, die=1, after=2)
told = {"died": publish("someone"), "unreachable": publish("someone")}
revive()
told["second try"] = publish("someone")
told["again"] = publish("someone")
told["private"] = publish("secret", "--private")
for path in ("/objects/batch", "/preupload/"):
    fail(path, 3)
told["500 three times"] = publish("patient")
for name, path in (("create", "/repos/create"), ("finish", "/commit/main")):
    fail(path, 30)
    told[f"500 {name}"] = publish(name)
    fail(path, 0)
    told[f"again {name}"] = publish(name)
from huggingface_hub import DatasetCard
DatasetCard.load("someone/usb-ag_news").validate()
tell(told)
"""

LOAD = """
import datasets
name = "someone/usb-ag_news"
told = {"configurations": {}, "stream": {}}
for configuration in datasets.get_dataset_config_names(name):
    found = datasets.load_dataset(name, configuration)
    told["configurations"][configuration] = {split: len(data) for split, data in found.items()}
    stream = datasets.load_dataset(name, configuration, streaming=True)
    told["stream"][configuration] = {split: list(stream[split]) == list(found[split]) for split in found}
try:
    datasets.load_dataset("secret/usb-ag_news", "labels40_seed0")
except datasets.exceptions.DatasetNotFoundError as error:
    told["private"] = str(error)
told["command"] = cli("benchmark", "verify", "secret/usb-ag_news")
tell(told)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """AG News with 50 training rows a class: enough for USB's own label settings."""
    source = make_source("ag_news", tmp_path_factory.mktemp("raw"), per_class=50)
    task = replace(source.task, label_settings=TASKS["ag_news"].label_settings)
    return build_task(task, source.folder, tmp_path_factory.mktemp("built") / "usb-ag_news")


@pytest.mark.slow
def test_a_task_is_published_whole_or_not_at_all_and_loads_everywhere(folder, tmp_path):
    # The source is a small one: the table that the command reads is made to fit, as its counts are checked.
    small = 'import hf_ssl.benchmark.tasks as t, dataclasses\nt.TASKS["ag_news"] = dataclasses.replace(t.TASKS["ag_news"], '
    small += 'sizes={"train": 200, "validation": 4, "test": 4})\n'
    with LoopbackHub() as hub:
        told = run_client(hub, tmp_path / "home", small + PUBLISH, folder)
        for case in ("died", "unreachable", "500 create", "500 finish"):
            status, out, err = told[case]
            assert (status, out) == (2, "") and "Traceback" not in err, (case, err)
            assert err.splitlines()[-1].startswith("hf-ssl: error: "), (case, err)
        for case in ("died", "unreachable"):
            assert f"the connection to {hub.url} failed" in told[case][2]
        for case in ("500 create", "500 finish"):
            assert "500" in told[case][2]
        names = {"second try": "someone", "again": "someone", "private": "secret", "500 three times": "patient"}
        for case, name in {**names, "again create": "create", "again finish": "finish"}.items():
            assert told[case][:2] == [0, f"Published {hub.url}/datasets/{name}/usb-ag_news\n"], (case, told[case])
        on_disk = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        assert {repository: len(found.commits) for repository, found in hub.repositories.items()} == {
            f"{name}/usb-ag_news": 2 for name in ("someone", "secret", "patient", "create", "finish")
        }
        for name, found in hub.repositories.items():
            assert found.files == on_disk and found.private == (name == "secret/usb-ag_news")
        assert not any(TOKEN.encode() in content for content in on_disk.values())
        # What had arrived before the server died is not sent again.
        sent = [path for method, path, _ in hub.requests if method == "PUT"]
        assert len(sent) == len(set(sent)) == sum(path.endswith(".parquet") for path in on_disk)

        found = run_client(hub, tmp_path / "fresh", small + LOAD, token="")
    sizes = {"unlabeled": 200, "validation": 4, "test": 4}
    expected = {f"labels{count}_seed{seed}": {"labeled": count, **sizes} for count in (40, 200) for seed in (0, 1, 2)}
    assert found["configurations"] == {"full": {"train": 200, "validation": 4, "test": 4}, **expected}
    assert all(same for splits in found["stream"].values() for same in splits.values())
    assert "secret/usb-ag_news" in found["private"]
    status, _, err = found["command"]
    assert status == 2 and err.count("\n") == 1 and "secret/usb-ag_news" in err
