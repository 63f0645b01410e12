"""Publishing benchmark tasks: what the server does wrong, and what others then load, whole and as a stream."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from huggingface_hub import DatasetCard

from hf_ssl.benchmark import TASKS, build_task, load_task
from hf_ssl.benchmark.publish import COLLECTION

from tests.helpers.benchmark_sources import make_source
from tests.helpers.hub_client import run_client
from tests.helpers.loopback_hub import TOKEN, LoopbackHub

CARDS = sorted(Path(__file__).resolve().parents[2].joinpath("hub_cards").glob("*.md"))


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.stem)
def test_the_cards_parse(path):
    card = DatasetCard.load(path)
    assert card.data.license and card.data.configs and card.data.task_categories
    assert card.data.to_yaml() == DatasetCard(str(card)).data.to_yaml()
    assert "\n# " in card.content and "More information needed" not in card.content


PUBLISH = """
import os, sys
def publish(namespace, *options):
    return cli("benchmark", "publish", "ag_news", "--namespace", namespace, "--folder", sys.argv[1], *options)

known = os.environ.pop("HF_TOKEN")
told = {"no token": publish("someone")}
for case, token in (("wrong token", "hf_wrong_9876543210"), ("token without rights", "hf_loopback_read_only")):
    os.environ["HF_TOKEN"] = token
    told[case] = publish("someone")
os.environ["HF_TOKEN"] = known

# Some of the files arrive, then the server dies.
fail("/upload/", 1, die=1, after=2)
told |= {"died": publish("someone"), "unreachable": publish("someone")}
revive()
import datasets
try:
    datasets.load_dataset("someone/usb-ag_news", "labels40_seed0")
except (OSError, ValueError) as error:
    told["half"] = str(error)
told["second try"] = publish("someone")
told["again"] = publish("someone")
told["public"] = publish("someone", "--private")
told["private"] = publish("secret", "--private")

# The client tries again by itself, but not to make a repository; what fails for longer is an error.
for path in ("/objects/batch", "/preupload/", "/upload/"):
    fail(path, 3)
told["500 three times"] = publish("patient", "--no-collection")
for name, path in (("create", "/repos/create"), ("finish", "/commit/main")):
    fail(path, 30)
    told[f"500 {name}"] = publish(name)
    fail(path, 0)
    told[f"again {name}"] = publish(name)

# The collection is refused: the dataset is there all the same.
fail("/api/collections", 30)
told["500 collection"] = publish("shelf")
fail("/api/collections", 0)
fail("/items", 1, die=1)
told["died collection"] = publish("shelf")
revive()
told["again collection"] = publish("shelf")

from huggingface_hub import DatasetCard
from pathlib import Path
for card in ("someone/usb-ag_news", *Path(sys.argv[2]).glob("*.md")):
    DatasetCard.load(card).validate()
tell(told)
"""

LOAD = """
import datasets
from hf_ssl.benchmark import load_task, verify_task
from huggingface_hub import DatasetCard, get_collection, list_collections
name = "someone/usb-ag_news"
told = {"configurations": {}, "stream": {}}
for configuration in datasets.get_dataset_config_names(name):
    found = datasets.load_dataset(name, configuration)
    told["configurations"][configuration] = {split: len(data) for split, data in found.items()}
    stream = datasets.load_dataset(name, configuration, streaming=True)
    told["stream"][configuration] = {split: list(stream[split]) == list(found[split]) for split in found}
# The card's own lines.
card = DatasetCard.load(name).content
exec(card.split("```python")[1].split("```")[0])
told["plain"] = {split: list(part["text"]) for split, part in data.items()}
call = card.split("With the package: `hf_ssl.benchmark.")[1].split("`")[0]
told["mine"] = {split: list(part["text"]) for split, part in eval(call).items()}
from hf_ssl.hub.provenance import source_of
sources = [source_of(load_task("ag_news", 40, 0, name)[split]) for split in ("labeled", "unlabeled", "test")]
told["sources"] = [[source.repository, source.config, source.split] for source in sources]
told["revisions"] = sorted({source.revision for source in sources})
told["failed"] = [check.name for check in verify_task(name) if not check.passed]
try:
    datasets.load_dataset("secret/usb-ag_news", "labels40_seed0")
except datasets.exceptions.DatasetNotFoundError as error:
    told["private"] = str(error)
told["command"] = cli("benchmark", "verify", "secret/usb-ag_news")
(collection,) = list_collections(owner="someone")
told["collection"] = [(item.item_id, item.item_type, item.note) for item in get_collection(collection.slug).items]
told["private collections"] = [collection.title for collection in list_collections(owner="secret")]
tell(told)
"""

ERRORS = {
    "no token": "someone/usb-ag_news: no access token; log in with `hf auth login`, or set HF_TOKEN",
    "wrong token": "someone/usb-ag_news: the Hub does not know this access token; make one with write permission",
    "token without rights": "someone/usb-ag_news: this access token may not write there; use one with write permi",
    "died": "someone/usb-ag_news: the connection to HUB failed (",
    "unreachable": "someone/usb-ag_news: the connection to HUB failed (",
    "public": "HUB/datasets/someone/usb-ag_news exists and is public; make it private first",
    "500 create": "create/usb-ag_news: the Hub has trouble (HTTP 500); nothing was published, try again later",
    "500 finish": "finish/usb-ag_news: the Hub has trouble (HTTP 500); nothing was published, try again later",
}
# case -> namespace, whether something was uploaded, whether there is a collection
DONE = {
    "second try": ("someone", True, True),
    "again": ("someone", False, True),
    "private": ("secret", True, True),
    "500 three times": ("patient", True, False),
    "again create": ("create", True, True),
    "again finish": ("finish", True, True),
    "500 collection": ("shelf", True, False),
    "died collection": ("shelf", False, False),
    "again collection": ("shelf", False, True),
}
NOT_IN = f"hf-ssl: warning: shelf/usb-ag_news is published, but not in the collection {COLLECTION!r}: "
DRAWS = {f"labels{count}_seed{seed}": count for count in (40, 200) for seed in (0, 1, 2)}
SLUG = "usb-unified-semi-supervised-learning-benchmark"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """AG News with 50 training rows per class: enough for USB's own label settings."""
    source = make_source("ag_news", tmp_path_factory.mktemp("raw"), per_class=50)
    task = replace(source.task, label_settings=TASKS["ag_news"].label_settings)
    return build_task(task, source.folder, tmp_path_factory.mktemp("built") / "usb-ag_news")


def read(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_a_task_is_published_whole_or_not_at_all_and_loads_everywhere(folder, tmp_path):
    with LoopbackHub() as hub:
        told = run_client(hub, tmp_path / "home", PUBLISH, folder, CARDS[0].parent)
        for case, message in ERRORS.items():
            status, out, err = told[case]
            assert (status, out) == (2, "") and "Traceback" not in err, (case, err)
            assert err.splitlines()[-1].startswith(f"hf-ssl: error: {message.replace('HUB', hub.url)}"), (case, err)
        assert "someone/usb-ag_news" in told["half"]
        for case, (name, changed, collected) in DONE.items():
            status, out, err = told[case]
            first, *rest = out.splitlines()
            assert status == 0 and first == (
                f"{'Published' if changed else 'Nothing has changed:'} {hub.url}/datasets/{name}/usb-ag_news"
            ), (case, err)
            assert bool(rest) == collected and all(
                line.startswith(f"In the collection {hub.url}/collections/{name}/{SLUG}-") for line in rest
            ), (case, out)
            # It is a small source, which is said each time.
            assert "hf-ssl: warning: AG News: train: count: 200, USB has 100,000" in err
        assert f"{NOT_IN}the Hub has trouble (HTTP 500); publish again to add it" in told["500 collection"][2]
        assert f"{NOT_IN}the connection to {hub.url} failed (" in told["died collection"][2]
        on_disk = read(folder)
        assert {repository: len(found.commits) for repository, found in hub.repositories.items()} == {
            f"{name}/usb-ag_news": 2 for name, _, _ in DONE.values()
        }
        for name, found in hub.repositories.items():
            # The card names the account that it is published by.
            card = found.files["README.md"].decode()
            assert f'load_dataset("{name}", "labels40_seed0")\n' in card and "NAMESPACE" not in card
            tasks = yaml.safe_load(found.files["eval.yaml"])["tasks"]
            assert tasks == [{"id": draw, "config": draw, "split": "test"} for draw in DRAWS]
            assert {**found.files, "README.md": on_disk["README.md"]} == on_disk | {
                "eval.yaml": found.files["eval.yaml"]
            }
            assert found.private == (name == "secret/usb-ag_news")
        assert not any(TOKEN.encode() in content for content in on_disk.values())
        # What had arrived before the server died is not sent again.
        sent = [path for method, path, _ in hub.requests if method == "PUT"]
        assert len(sent) == len(set(sent)) == sum(path.endswith(".parquet") for path in on_disk)
        # One collection an account, and the dataset in it once.
        assert {one["owner"]["name"]: (one["private"], len(one["items"])) for one in hub.collections.values()} == {
            name: (name == "secret", 1) for name, _, collected in DONE.values() if collected
        }

        found = run_client(hub, tmp_path / "fresh", LOAD, token="")
    sizes = {"unlabeled": 200, "validation": 4, "test": 4}
    expected = {name: {"labeled": count, **sizes} for name, count in DRAWS.items()}
    assert found["configurations"] == {"full": {"train": 200, "validation": 4, "test": 4}, **expected}
    assert all(same for splits in found["stream"].values() for same in splits.values())
    assert (
        found["mine"]
        == found["plain"]
        == {split: list(data["text"]) for split, data in load_task("ag_news", 40, 0, folder).items()}
    )
    # By these a model is known to be one of this task.
    names = ["someone/usb-ag_news", "labels40_seed0"]
    assert found["sources"] == [[*names, split] for split in ("labeled", "unlabeled", "test")]
    assert found["revisions"] == [hub.repositories["someone/usb-ag_news"].sha]
    assert found["failed"] == ["train: count", "validation: count", "test: count"]
    assert "secret/usb-ag_news" in found["private"]
    status, _, err = found["command"]
    assert status == 2 and err.count("\n") == 1 and "secret/usb-ag_news" in err
    assert found["collection"] == [["someone/usb-ag_news", "dataset", "text, 4 classes, 40 or 200 labels"]]
    assert found["private collections"] == []


CHANGE = """
import sys
from dataclasses import replace
from hf_ssl.benchmark import publish_task, TASKS
from huggingface_hub import HfApi
api = HfApi()
mine = api.create_collection("Mine", namespace="someone")
told = {"private": publish_task("ag_news", "someone", sys.argv[1], private=True)}
(slug,) = [one.slug for one in api.list_collections(owner="someone") if one.slug != mine.slug]
old = {"path_or_fileobj": b"old", "path_in_repo": "data/train-00007-of-00009.parquet"}
api.upload_file(**old, repo_id="someone/usb-ag_news", repo_type="dataset")
told["stale file"] = publish_task("ag_news", "someone", sys.argv[1])
told["public"] = cli("benchmark", "publish", "yelp_review", "--namespace", "someone", "--folder", sys.argv[2])
told["beyond the 15"] = publish_task("cifar10", "someone", sys.argv[3])
told["slug"] = slug
for status, message in ((400, "eval.yaml: evaluation_framework must be one of inspect-ai"), (400, "another reason")):
    fail("/commit/", 1, status=status, message=message)
    options = ["--namespace", "new", "--folder", sys.argv[1], "--no-collection"]
    told[message] = cli("benchmark", "publish", "ag_news", *options)
    api.delete_repo("new/usb-ag_news", repo_type="dataset", missing_ok=True)
tell(told)
"""


@pytest.mark.slow
def test_publishing_into_what_is_there_already(folder, tmp_path):
    others = []
    for name in ("yelp_review", "cifar10"):
        source = make_source(name, tmp_path / name, per_class=50)
        task = replace(source.task, label_settings=TASKS[name].label_settings[:1])
        others.append(build_task(task, source.folder, tmp_path / f"usb-{name}"))
    with LoopbackHub() as hub:
        told = run_client(hub, tmp_path / "home", CHANGE, folder, *others)
        first = hub.repositories["someone/usb-ag_news"]
        # What an earlier version had and this one has not, goes; what is private stays so.
        assert set(first.files) == {*read(folder), "eval.yaml"} and first.private and len(first.commits) == 4
        # A Hub that does not know the framework of eval.yaml gets all else.
        status, out, err = told["eval.yaml: evaluation_framework must be one of inspect-ai"]
        assert (status, "Published" in out) == (0, True) and "new/usb-ag_news is published without eval.yaml: " in err
        assert told["another reason"][0] == 2
        url = f"{hub.url}/collections/{told['slug']}"
        assert [told[case][1:] for case in ("private", "stale file", "beyond the 15")] == [
            [True, url],
            [True, url],
            [True, None],
        ]
        status, out, err = told["public"]
        assert status == 0 and out.endswith(f"In the collection {url}\n")
        assert f"is private; to show it: hf collections update {told['slug']} --no-private" in err
        assert [item["id"] for item in hub.collections[told["slug"]]["items"]] == [
            "someone/usb-ag_news",
            "someone/usb-yelp_review",
        ]
        assert sorted(one["title"] for one in hub.collections.values()) == ["Mine", COLLECTION]
