"""The page: complete without network and script, and whatever names are in the files, they are only names."""

import json
import re

import pytest

from hf_ssl.benchmark.leaderboard.page import render_page
from hf_ssl.benchmark.leaderboard.runs import Results, Run, Setting, load_results
from hf_ssl.benchmark.leaderboard.scopes import scopes
from hf_ssl.report.markdown import one_line
from hf_ssl.report.pages.assemble import embedded

from tests.helpers.cell_files import make_cell, write_cell, write_cells, write_failure
from tests.helpers.html_page import Page, data_of

HOSTILE = [
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "<!--",
    "]]>",
    "{{ 7 * 7 }}",
    "\u202egnp.exe\x1b[2J\u2028",
    "' onmouseover='alert(1)",
    "=HYPERLINK(A1)",
]


def render(folder, **options):
    results = load_results(folder)
    return render_page(results, scopes(results), **options)


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    write_cells(
        folder,
        {
            ("ag_news", 40): {"supervised": [15.0, 17.0], "fixmatch": [30.0, 32.0], "fixmatch+abc": [13.0, 14.0]},
            ("cifar100", 200): {"supervised": [35.0, 36.0], "fixmatch": [29.0, None]},
        },
    )
    write_failure(folder, make_cell("cifar100", 200, 0, "fixmatch+abc"), "the loss became NaN", "NotFiniteError")
    return render(folder)


def test_the_page_is_well_formed(full):
    page = Page(full)
    assert page.wrong == [] and page.open == []
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = [attributes["href"][1:] for attributes in page.all("a")]
    assert targets and set(targets) <= set(ids)


def test_each_number_opens_its_runs(full):
    data, page = data_of(full), Page(full)
    numbers = [int(attributes["data-c"]) for attributes in page.all("button") if "data-c" in attributes]
    assert sorted(numbers) == list(range(len(data["cells"]))) == list(range(5))
    shown = re.findall(r'data-c="(\d+)"[^>]*>([\d.]+)', full)
    for number, mean in shown:
        setting, algorithm, folder, runs = data["cells"][int(number)]
        assert float(mean) == pytest.approx(sum(run[1] for run in runs) / len(runs), abs=0.006)
        assert data["algorithms"][algorithm] in folder and data["settings"][setting][0].split()[0] in folder


def test_a_run_has_its_curves_settings_versions_and_key(full):
    data = data_of(full)
    *_, runs = data["cells"][0]
    run = runs[0]
    assert len(data["shared"]["steps"][run[16]]) == 20 and len(run[17]) == 4
    # The last point of the test accuracy, in tenths of a percent: it stays when curves are thinned.
    assert run[17][0][-1] == round(10 * (100 - run[1]) * (1 - 0.5 / 20))
    settings = {topic: data["shared"]["settings"][place] for topic, place in run[11].items()}
    assert settings == {"training": {"max_steps": 100}, "algorithm": {"threshold": 0.95}}
    assert (
        "hf-ssl" in data["shared"]["versions"][run[12]] and data["shared"]["machines"][run[13]] == "cpu a CPU, cores 2"
    )
    names, values = run[18]
    assert dict(zip(data["shared"]["metrics"][names], values, strict=True)) == {"accuracy": round(100 - run[1], 2)}
    assert re.fullmatch("[0-9a-f]{16}", run[14])


def test_nothing_is_loaded_from_elsewhere(full):
    page = Page(full)
    assert [name for name, attributes in page.elements if "src" in attributes or name in ("link", "iframe")] == []
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|https?://(?!www\.w3\.org/2000/svg)", full)
    (policy,) = [m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-") and "unsafe" not in policy
    # No style or handler in an attribute, which the policy would not let work.
    assert [a for _, a in page.elements if "style" in a or any(name.startswith("on") for name in a)] == []


def test_tables_say_what_their_headers_are_of(full):
    page = Page(full)
    assert all(attributes.get("scope") in ("col", "row") for attributes in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))
    regions = [a for a in page.all("div") if a.get("class") == "scroll"]
    assert regions and all(a["role"] == "region" and a["aria-label"] and a["tabindex"] == "0" for a in regions)
    assert all(a["role"] == "img" and a["aria-labelledby"] for a in page.all("svg"))
    assert page.elements[0] == ("html", {"lang": "en"})


@pytest.mark.parametrize("name", HOSTILE)
def test_names_and_errors_of_others_are_only_texts(tmp_path, name):
    given = {"backbone": name, "schedule": name, "settings": {"training": {name: name}}}
    for algorithm in ("fixmatch", name.replace("+", "")):
        write_cell(tmp_path, make_cell(name, 40, 0, algorithm, **given), 10.0)
    write_failure(tmp_path, make_cell(name, 40, 1, "uda", **given), name, name)
    text = render(tmp_path, title=name)
    page = Page(text)
    assert page.wrong == [] and page.open == []
    assert len(page.all("script")) == 2 and page.all("img") == []
    assert [a for _, a in page.elements if any(key.startswith("on") for key in a)] == []
    assert "\x1b" not in text and "\u202e" not in text and "\u2028" not in text
    # As texts they are all there, in the page and in its data.
    shown, data = one_line(name), data_of(text)
    assert "".join(page.text).count(shown) >= 5
    assert shown.replace("+", "") in data["algorithms"] and data["settings"][0][2] == shown
    assert len(data["cells"]) == 2


@pytest.mark.parametrize("modality", ["<b>", "../../x", "Image"])
def test_an_unknown_modality_is_one_more_kind(tmp_path, modality):
    from hf_ssl.benchmark.leaderboard.report import write_report

    write_cells(tmp_path / "r", {("ag_news", 40): {"uda": [1.0], "vat": [2.0]}}, modality=modality)
    write_cells(tmp_path / "r", {("ag_news", 200): {"uda": [1.0], "vat": [2.0]}})
    report = write_report(tmp_path / "r")
    assert all(path.parent == tmp_path / "r" / "report" for path in report.files)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r"]


def test_numbers_that_are_none_are_not_written(tmp_path):
    path = write_cell(tmp_path, make_cell(), 10.0)
    text = path.read_text().replace('"peak_memory_mb": 800', '"peak_memory_mb": NaN')
    path.write_text(text.replace('"best_step": 80', '"best_step": 1e999').replace('"loss": 1.0', '"loss": {"a": []}'))
    assert len(data_of(render(tmp_path))["cells"]) == 1


@pytest.mark.parametrize("address", ["javascript:alert(1)//", "http://example.org/", "data:,", ""])
def test_files_are_only_linked_at_safe_addresses(tmp_path, address):
    write_cell(tmp_path, make_cell(), 10.0)
    with pytest.raises(ValueError, match=r"runs_at must begin with \.\./, \./ or https://, got"):
        render(tmp_path, runs_at=address)


def test_a_page_of_a_thousand_runs_has_thinner_curves(tmp_path, monkeypatch):
    from hf_ssl.benchmark.leaderboard import page_data

    write_cells(tmp_path, {("ag_news", 40): {"uda": [1.0, 2.0], "vat": [2.0, 3.0]}})
    whole = data_of(render(tmp_path))
    assert len(whole["shared"]["steps"][0]) == 20
    size = len(embedded(whole))
    monkeypatch.setattr(page_data, "LARGEST", size - 400)
    thin = data_of(render(tmp_path))
    (steps,) = thin["shared"]["steps"]
    assert 1 < len(steps) < 20 and (steps[0], steps[-1]) == (5, 100)
    monkeypatch.setattr(page_data, "LARGEST", 1)
    assert data_of(render(tmp_path))["shared"]["steps"] == [[]]


def test_a_page_of_ten_thousand_runs_stays_below_5_mb(tmp_path, monkeypatch):
    """Shown with a tenth of the runs and of the size: what a run takes does not depend on how many there are."""
    from hf_ssl.benchmark.leaderboard import page_data

    content = json.loads(write_cell(tmp_path, make_cell(), 10.0).read_text())
    runs = [
        Run(
            Setting("text", f"task {k}", 40, "org/model", "usb"),
            f"algorithm {a}",
            seed,
            10.0 + a + k,
            9.0,
            60.0,
            content,
        )
        for k in range(14)
        for a in range(24)
        for seed in range(3)
    ]
    monkeypatch.setattr(page_data, "LARGEST", page_data.LARGEST * len(runs) // 10_000)
    results = Results(runs)
    page = render_page(results, scopes(results))
    embedded_size = len(page_data.page_data(results)[0])
    assert 0.7 * page_data.LARGEST < embedded_size <= page_data.LARGEST
    # The matrix of wins, the pictures and the script do not grow with the runs.
    tables = re.findall(r'<section class="errors".*?</section>', page, flags=re.DOTALL)
    assert page_data.LARGEST + sum(map(len, tables)) < 4_500_000 * len(runs) / 10_000
