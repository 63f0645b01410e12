"""What the README and the guides show runs, parses, and exists."""

import importlib.util
import re
from dataclasses import fields

import pytest

from hf_ssl import SSLConfig
from hf_ssl.algorithms import ALGORITHMS, BY_PROBLEM_TYPE
from hf_ssl.benchmark import TASKS
from hf_ssl.report import tables
from hf_ssl.report.stages import stages_table

from tests.helpers import pages
from tests.helpers.pages import EXAMPLES, PAGES, ROOT

every_page = pytest.mark.parametrize("page", PAGES)
README = PAGES["README.md"].read_text(encoding="utf-8")
# Blocks that are marked `python no-run` in their page, and why they cannot run in a test.
NOT_RUN: dict[str, str] = {
    "examples/guides/ensembles.md": "an ensemble takes minutes by default; tests/ensemble trains small ones",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("person")


@pytest.fixture(scope="module")
def models(folder):
    return pages.make_files(folder)


@pytest.fixture
def namespace(images, image_processor, vit):
    """What a page may use without having made it."""
    return {
        "__name__": "page",
        "labeled": images["labeled"],
        "unlabeled": images["unlabeled"].remove_columns("label"),
        "test": images["test"],
        "processor": image_processor,
        "model": vit,
    }


@pytest.mark.parametrize("page", [page for page in PAGES if pages.blocks(page, "python")])
def test_its_python_blocks_run_in_order(page, folder, models, namespace, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setattr("hf_ssl.config.usual_workers", lambda: 0)
    monkeypatch.setattr("hf_ssl.features.bank.default_cache", lambda: folder / "features")
    replaced = prepare_benchmark(folder, monkeypatch) if page.endswith("benchmark.md") else {}
    for block in pages.blocks(page, "python"):
        source = pages.smaller(block.source, models)
        for old, new in replaced.items():
            source = source.replace(old, new)
        exec(compile("\n" * (block.line - 1) + source, PAGES[page].name, "exec"), namespace)
    if page in CHECKS:
        CHECKS[page](namespace)


def prepare_benchmark(folder, monkeypatch) -> dict[str, str]:
    """A small CIFAR-100 in the place of the real one; what stands for its label count."""
    source = pages.make_cifar100(folder)
    monkeypatch.setitem(TASKS, "cifar100", source.task)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", folder / "cache")
    return {
        "labels200_": f"labels{source.task.label_settings[0]}_",
        "num_labeled=200": f"num_labeled={source.task.label_settings[0]}",
        '"cifar-100-python.tar.gz"': repr(str(source.folder)),
    }


def check_custom_algorithm(namespace) -> None:
    trainer = namespace["trainer"]
    rows = [row for row in trainer.state.log_history if "loss" in row]
    assert type(trainer.algorithm) is namespace["SmoothMatch"] and trainer.algorithm.power == 2.0
    assert rows
    assert all(row["loss"] == pytest.approx(row["supervised"] + row["unsupervised"], rel=1e-5) for row in rows)
    assert all(0 < row["mask_ratio"] < 1 for row in rows)
    assert namespace["output"].loss.isfinite()


def check_resuming(namespace) -> None:
    assert namespace["trainer"].state.global_step == 2
    assert namespace["averaged"]["eval_loss"] != namespace["raw"]["eval_loss"]


def check_custom_views(namespace) -> None:
    row = namespace["labeled"][0]
    assert namespace["strong_by_torchvision"](row).size == (224, 224)
    assert namespace["trainer"].views.suffixes == ("_strong",)


def check_benchmark(namespace) -> None:
    assert set(namespace["data"]) == {"labeled", "unlabeled", "test"}
    assert len(namespace["labeled"]) == 40 and len(namespace["rest"]) == 960


CHECKS = {
    "examples/guides/custom_algorithm.md": check_custom_algorithm,
    "examples/guides/resuming.md": check_resuming,
    "examples/guides/custom_views.md": check_custom_views,
    "examples/guides/benchmark.md": check_benchmark,
}


def test_blocks_that_do_not_run_have_a_reason():
    languages = {page: {block.language for block in pages.blocks(page)} for page in PAGES}
    assert set().union(*languages.values()) <= {"", "python", "python no-run", "sh", "diff"}
    assert {page for page, found in languages.items() if "python no-run" in found} == set(NOT_RUN)


@pytest.mark.parametrize("page", [page for page in PAGES if any(pages.commands(page))])
def test_its_commands_have_the_options_that_they_show(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.yaml").write_text("model: M\nlabeled: L\nunlabeled: U\n", encoding="utf-8")
    for words in pages.commands(page):
        CHECK_COMMAND.get(words[0], known_program)(words)


def check_hf_ssl(words: list[str]) -> None:
    """The real parser of the command takes it."""
    cli = importlib.import_module("hf_ssl.cli")
    if words[1] == "train":
        importlib.import_module("hf_ssl.cli.train_options").parse(words[2:])
    elif words[1] == "ensemble":
        own, rest = importlib.import_module("hf_ssl.cli.ensemble").make_parser().parse_known_args(words[2:])
        importlib.import_module("hf_ssl.cli.train_options").parse(["--model", *own.model[:1], *rest])
    else:
        cli.build_parser().parse_args(words[1:])


def check_python(words: list[str]) -> None:
    """The script exists, and each option is one of its own or of SSLConfig."""
    if words[1] == "-m":
        assert importlib.util.find_spec(words[2]) is not None
        return
    source = (ROOT / words[1]).read_text(encoding="utf-8")
    known = {field.name for field in fields(SSLConfig)}
    for word in words[2:]:
        if word.startswith("--"):
            name = word.removeprefix("--").split("=")[0]
            assert name in known or name in source or name.replace("-", "_") in source, word


def check_accelerate(words: list[str]) -> None:
    scripts = [word for word in words if word.endswith(".py")]
    assert all((ROOT / script).is_file() for script in scripts)
    if "-m" in words:
        module = words.index("-m") + 1
        assert words[module] == "hf_ssl.cli"
        check_hf_ssl(words[module:])


def check_pip(words: list[str]) -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for extra in re.findall(r"\.\[(\w+)\]", " ".join(words)):
        assert re.search(rf"^{extra} = \[", text, flags=re.MULTILINE), extra


def known_program(words: list[str]) -> None:
    assert words[0] in ("hf", "pytest", "pdoc", "pre-commit", "git", "tail", "ray", ".ci/run"), words


CHECK_COMMAND = {
    "hf-ssl": check_hf_ssl,
    "python": check_python,
    "accelerate": check_accelerate,
    "pip": check_pip,
}


@every_page
def test_every_file_it_names_exists(page):
    text = PAGES[page].read_text(encoding="utf-8")
    names = set(re.findall(r"`((?:hf_ssl|examples|tests|hub_cards|\.github|\.ci)/[\w/.]+)`", text))
    assert sorted(name for name in names if not (ROOT / name).exists() and "NAME" not in name) == []


@every_page
def test_its_links_lead_somewhere(page):
    path = PAGES[page]
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        assert file.exists(), f"{page}: {target}"
        assert not anchor or anchor in anchors(file.read_text(encoding="utf-8")), f"{page}: {target}"


def anchors(text: str) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_names_of_the_api_page_are_there():
    rows = re.findall(
        r"^\| (`hf_ssl[^|]+) \|", PAGES["examples/guides/api.md"].read_text(encoding="utf-8"), re.MULTILINE
    )
    assert len(rows) >= 8
    for row in rows:
        first, *others = re.findall(r"`([\w.]+)`", row)
        module, _, name = first.rpartition(".")
        for member in (name, *others):
            if member.startswith("hf_ssl."):
                module, _, member = member.rpartition(".")
            parent = importlib.import_module(module)
            assert hasattr(parent, member) or importlib.import_module(f"{module}.{member}"), member


def test_every_algorithm_is_in_the_readme_and_in_the_table_of_the_guide():
    table = PAGES["examples/guides/algorithms.md"].read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \|", table, flags=re.MULTILINE)
    tables_of_kinds = [table.items() for table in BY_PROBLEM_TYPE.values()]
    assert rows == [(name, algorithm.summary) for listed in tables_of_kinds for name, algorithm in listed]
    listed = README[README.index("## Algorithms") : README.index("`hf-ssl algorithms flexmatch`")]
    assert re.findall(r"`(\w+)`", listed) == list(ALGORITHMS)


SHOWN = {"README.md": tables.results_table, "examples/guides/your_images.md": stages_table}


@pytest.mark.parametrize(("page", "printed"), SHOWN.items(), ids=SHOWN)
def test_the_shown_table_of_results_is_laid_out_as_it_is_printed(page, printed):
    """The page's numbers are of an earlier run; columns and widths are those of today's code."""
    (shown,) = [block.source for block in pages.blocks(page, "") if "test accuracy  " in block.source]
    expected = re.split(r"\s{2,}", printed([]).splitlines()[0])
    lines = shown[shown.index(f"{expected[0]} ") :].splitlines()[:4]
    header, *rows = [re.split(r"\s{2,}", line) for line in (lines[0], *lines[2:])]
    assert header == expected
    # The last cell of a row may be empty.
    rows = [row + [""] * (len(header) - len(row)) for row in rows]
    assert tables.table(header, rows).splitlines() == lines


def test_the_readme_fits_on_a_page():
    assert len(README.encode()) <= 9_000


def test_every_guide_is_in_the_index():
    index = PAGES["examples/README.md"].read_text(encoding="utf-8")
    names = [path.name for path in (EXAMPLES / "guides").iterdir() if path.suffix in (".md", ".ipynb")]
    assert [name for name in names if f"(guides/{name})" not in index] == []


def test_every_script_is_in_the_index_with_its_command():
    index = PAGES["examples/README.md"].read_text(encoding="utf-8")
    names = [path.name for path in (EXAMPLES / "scripts").glob("*.py")]
    assert len(names) >= 5
    assert [name for name in names if f"python examples/scripts/{name}" not in index] == []
