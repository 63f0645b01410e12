"""Demo Spaces: every form of app.py is sound code, and a Space is pushed by the real client to a loopback Hub."""

import ast
import itertools
import subprocess
import sys

import numpy as np
import pytest
import yaml

from hf_ssl.hub.demo.index import Part
from hf_ssl.hub.demo.space import GRADIO, Demo, render_app

from tests.helpers.command_data import COLORS, image_folders
from tests.helpers.hub_client import check_private, run_client
from tests.helpers.loopback_hub import LoopbackHub, Repository
from tests.helpers.tiny_tasks import TASKS, new_model

PUSH = """
import sys
folder = sys.argv[1]
data = ["--labeled", f"{folder}/labeled", "--pool", f"{folder}/pool", "--device", "cpu"]
def demo(out, *words):
    return cli("demo", "someone/pets", *data, "--output-dir", f"{folder}/{out}", *words)

told = {"model": cli("push", f"{folder}/model", "someone/pets")}
fail("/commit/", 30)
told["500"] = demo("a", "--push", "someone/try")
fail("/commit/", 0)
told["new"] = demo("a", "--overwrite", "--push", "someone/try")
told["again"] = demo("a", "--overwrite", "--push", "someone/try")
told["private"] = demo("b", "--with-examples", "--push", "someone/hidden", "--private")
told["without"] = demo("b", "--overwrite", "--push", "someone/hidden")
told["another page"] = demo("c", "--push", "someone/mine")
told["public"] = demo("d", "--push", "someone/try", "--private")
tell(told)
"""


def forms():
    features, classes = np.eye(2, dtype=np.float32), np.array([0, 1])
    for modality, names, shown in itertools.product(
        ("image", "text", "audio"), ((), ("labeled",), ("pool",), ("labeled", "pool")), (False, True)
    ):
        if names or not shown:
            parts = {name: Part(features, classes, ["a", "b"] if shown else None) for name in names}
            yield Demo("someone/pets", modality, ["cat", "dog"], "classifier", parts=parts)


def test_every_form_of_the_app_is_clean_code(tmp_path):
    for number, demo in enumerate(forms()):
        code = render_app(demo)
        ast.parse(code)
        assert len(code.splitlines()) < 170 and "{{" not in code and "{%" not in code
        (tmp_path / f"{number}.py").write_text(code, encoding="utf-8")
    rules = ["--isolated", "--select", "E,F,I,W,B,UP,SIM", "--ignore", "E402,E501", "--no-cache"]
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", *rules, str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ['quoted" + exit() + "', "new\nline", "back\\slash", "emoji 🏷️"])
def test_names_are_texts_in_the_code(name):
    tree = ast.parse(render_app(Demo(name, "image", [name, "dog"], name)))
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    assert name in texts
    assert not any(isinstance(node, ast.Call) and getattr(node.func, "id", "") == "exit" for node in ast.walk(tree))


@pytest.fixture(scope="module")
def pushed(tmp_path_factory):
    """What the commands told, the Hub afterwards, and the folder."""
    folder = tmp_path_factory.mktemp("demo")
    image_folders(folder, per_class=2)
    model = new_model("image")
    model.config.id2label = dict(enumerate(sorted(COLORS)))
    model.config.label2id = {name: index for index, name in enumerate(sorted(COLORS))}
    model.save_pretrained(folder / "model")
    TASKS["image"][1]().save_pretrained(folder / "model")
    (folder / "model" / "README.md").write_text("---\nlicense: mit\n---\n\nA model.\n")
    with LoopbackHub() as hub:
        hub.repositories["someone/mine"] = Repository(kind="space", files={"README.md": b"Mine.", "app.py": b""})
        told = run_client(hub, folder / "home", PUSH, folder)
        yield told, hub, folder


@pytest.mark.slow
def test_it_becomes_a_gradio_space(pushed):
    told, hub, folder = pushed
    space = hub.repositories["someone/try"]
    assert set(space.files) == {"README.md", "app.py", "index.safetensors", "requirements.txt"}
    front = yaml.safe_load(space.files["README.md"].decode().split("---")[1])
    assert (front["sdk"], front["sdk_version"], front["license"]) == ("gradio", GRADIO, "mit")
    assert front["models"] == ["someone/pets"] and "image-classification" in front["tags"]
    assert b'MODEL = "someone/pets"' in space.files["app.py"]
    url = f"{hub.url}/spaces/someone/try"
    assert told["new"][1].endswith(f"Pushed: {url}\n") and told["again"][1].endswith(f"Nothing has changed: {url}\n")
    assert "will show" not in told["new"][1] and len(space.commits) == 2
    check_private(space.files, str(folder))


@pytest.mark.slow
def test_examples_are_published_only_when_asked_for_and_said_before(pushed):
    told, hub, _ = pushed
    space = hub.repositories["someone/hidden"]
    assert space.private
    with_examples = space.commits[1][1]
    assert {"labeled.parquet", "pool.parquet", "examples/1.jpg"} <= set(with_examples)
    assert "The Space will show 6 of the labeled examples and 12 of the pool examples to those who may see it." in (
        told["private"][1].replace("\n", " ")
    )
    # Without the option they are taken back.
    assert set(space.files) == {"README.md", "app.py", "index.safetensors", "requirements.txt"}


@pytest.mark.slow
def test_what_is_refused_is_told_in_one_line(pushed):
    told, hub, _ = pushed
    for case, said in {
        "500": "someone/try: the Hub has trouble (HTTP 500); nothing was published, try again later",
        "another page": "someone/mine must be a demo of hf-ssl, got a Space with another page, which would be lost",
        "public": f"{hub.url}/spaces/someone/try exists and is public; make it private first",
    }.items():
        status, _, error = told[case]
        assert status == 2 and error.splitlines()[-1].startswith(f"hf-ssl: error: {said}")
    assert hub.repositories["someone/mine"].files["README.md"] == b"Mine."
