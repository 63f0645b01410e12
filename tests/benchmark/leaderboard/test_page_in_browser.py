"""The page in Chromium: sorting, filters, the runs behind a number, the keyboard, narrow and wide, light and dark.

Needs `pip install playwright` and a Chromium on this machine; skipped without.
"""

import pytest

from hf_ssl.benchmark.leaderboard.report import write_report

from tests.helpers.browser import chromium, expect, needs_chromium, opened
from tests.helpers.cell_files import make_cell, write_cells, write_failure

pytestmark = [pytest.mark.slow, needs_chromium]
HOSTILE = '<img src=x onerror="document.title=1">'


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    write_cells(
        folder,
        {
            ("ag_news", 40): {"supervised": [15.0, 17.0], "fixmatch": [9.0, 9.5], HOSTILE: [101 / 7, 14.0]},
            ("ag_news", 200): {"supervised": [14.0, 14.0], "fixmatch": [11.0, 12.0]},
            ("cifar100", 200): {"supervised": [35.0, 36.0], "fixmatch": [29.0, 28.0], HOSTILE: [30.0, 31.0]},
        },
        settings={"training": {"max_steps": 100}, HOSTILE: {HOSTILE: HOSTILE}},
    )
    write_failure(folder, make_cell("ag_news", 200, 0, HOSTILE), HOSTILE)
    write_report(folder)
    return (folder / "report" / "index.html").as_uri()


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser, address):
    with opened(browser, address) as page:
        yield page
        assert page.title() == "Semi-supervised learning: results of the benchmark"


def column(page, number, section="#errors-2"):
    return [
        row.locator("th, td").nth(number).inner_text() for row in page.locator(f"{section} tbody tr:visible").all()
    ]


def test_columns_sort_both_ways_and_missing_numbers_stay_last(page):
    page.select_option("#origin", "reproduced")
    head = page.locator("#errors-2 thead th").nth(3)
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert [text.split()[0] for text in column(page, 3)] == ["11.50", "14.00", "failed"]
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert [text.split()[0] for text in column(page, 3)] == ["14.00", "11.50", "failed"]


def test_filters_hide_columns_rows_and_tables(page):
    assert page.inner_text("#shown") == "Shown: 3 algorithms in 3 settings."
    page.select_option("#labels", "40")
    assert page.locator("#errors-1").is_hidden() and page.locator("#errors-2 thead th:visible").count() == 3
    page.fill("#algorithm", "FIX")
    page.select_option("#origin", "reported")
    assert page.inner_text("#shown") == "Shown: 1 algorithm in 1 setting."
    assert column(page, 1) == ["reported"] and column(page, 2) == ["30.17 ± 1.87"]
    page.select_option("#modality", "image")
    assert page.inner_text("#shown") == "Nothing fits these filters."
    assert page.locator(".scope:visible h3").all_inner_texts() == ["All settings", "Images"]
    page.get_by_role("button", name="Show all").click()
    expect(page.locator("#shown")).to_contain_text("3 settings")


def test_the_keyboard_opens_a_number_and_comes_back(page):
    first = page.locator("#errors-1 td button").first
    first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    assert dialog.get_by_role("heading").inner_text() == "fixmatch on cifar100 200"
    assert dialog.locator("tbody th").all_inner_texts()[0].startswith("0")
    assert dialog.locator("figure svg").count() == 4
    assert "seed 0: 35.5 % at step 5" in dialog.locator("figure svg").first.get_attribute("aria-label")
    assert "seed 1: accuracy 72.00 %" in dialog.inner_text()
    assert "max_steps 100" in dialog.inner_text() and HOSTILE in dialog.inner_text()
    assert dialog.get_by_role("link").first.get_attribute("href").startswith("../cifar100/200/fixmatch/")
    page.keyboard.press("Escape")
    assert dialog.is_hidden()
    assert page.evaluate("document.activeElement.textContent").startswith("28.50")


def test_the_address_names_the_runs(page, address):
    page.locator("#errors-1 td button").first.click()
    linked = page.url
    assert linked.endswith("#run=cifar100%2F200%2Fsupervised%2Forg__model")
    page.goto("about:blank")
    page.goto(linked)
    assert page.get_by_role("dialog").get_by_role("heading").inner_text() == "supervised on cifar100 200"


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 800, 1600])
def test_the_page_fits_its_width_in_both_themes(page, width, theme):
    page.emulate_media(color_scheme=theme)
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    back = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert back == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 24, 29)"}[theme]
    page.locator("td button").first.click()
    box = page.get_by_role("dialog").bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= width


def test_the_tables_are_there_without_script(browser, address):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    assert page.locator("#errors-2 tbody tr").count() == 5 and page.locator("#filters").is_hidden()
    assert page.locator("#ranks svg").first.is_visible()
    context.close()
