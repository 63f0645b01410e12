"""The page of a run in Chromium: map, examples, lists, themes and widths, with pointer and keyboard.

Needs `pip install playwright` and a Chromium on this machine; skipped without.
"""

import os

import pytest

from hf_ssl.report.inspection.page import write_page

from tests.helpers.browser import chromium, expect, needs_chromium, opened
from tests.helpers.inspected_run import large_document, make_document

pytestmark = [pytest.mark.slow, needs_chromium]
HOSTILE = '<img src=x onerror="document.title=1">'


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    document = make_document(120, 3)
    document["classes"][1]["name"] = HOSTILE
    document["examples"]["name"][9] = HOSTILE
    document["media"][9] = {"kind": "text", "text": HOSTILE}
    document["media"][8] = make_document(kind="audio")["media"][8]
    path = tmp_path_factory.mktemp("run") / "inspect.html"
    write_page(path, document)
    return path.as_uri()


@pytest.fixture
def page(browser, address):
    with opened(browser, address) as page:
        expect(page.locator("#map-count")).to_have_text("Shown: 120 of 120 examples.")
        yield page
        assert page.title() == "photos"


def names(page):
    return page.locator("#cards h3").all_inner_texts()


def place_of(page, i):
    """Where an example is on the screen."""
    x, y = page.evaluate(f"screenOf({i})")
    page.locator("#map-canvas").scroll_into_view_if_needed()
    box = page.locator("#map-canvas").bounding_box()
    return box["x"] + 1 + x, box["y"] + 1 + y


def test_the_pointer_shows_an_example_and_a_click_keeps_it(page):
    panel = page.locator("#map-panel")
    assert panel.inner_text() == "Point at or tap an example, or choose one with the arrow keys."
    page.mouse.move(*place_of(page, 60))
    assert panel.get_by_role("heading").inner_text() == "60.png"
    assert panel.locator("img").get_attribute("alt") == "Picture: 60.png"
    assert panel.locator("dl div").nth(0).inner_text().split("\n")[0] == "hidden label"
    expect(page.locator("#map-live")).to_contain_text("60.png; fixmatch says class 0")
    page.mouse.click(*place_of(page, 59))
    page.mouse.move(*place_of(page, 60))
    page.mouse.move(5, 5)
    assert panel.get_by_role("heading").inner_text() == "59.png"
    # Example 59 is of class 2, and is taken for class 0.
    assert panel.locator(".warning").inner_text().strip() == "✗"


def test_the_keyboard_goes_from_example_to_example(page):
    page.mouse.click(*place_of(page, 60))
    page.focus("#map-canvas")
    panel = page.locator("#map-panel")
    for key, name in (
        ("ArrowRight", "63.png"),
        ("ArrowLeft", "60.png"),
        ("ArrowUp", "61.png"),
        ("ArrowDown", "60.png"),
    ):
        page.keyboard.press(key)
        assert panel.get_by_role("heading").inner_text() == name
    page.keyboard.press("Enter")
    assert "kept here until Escape" in panel.inner_text()
    page.keyboard.press("+")
    assert page.evaluate("map.zoom") == 1.5
    page.keyboard.press("0")
    page.keyboard.press("Escape")
    assert page.evaluate("map.zoom") == 1 and panel.get_by_role("heading").count() == 0


def test_colors_classes_and_parts_are_chosen(page):
    shown = page.locator("#map-count")
    choices = page.locator("#map-color option").all_inner_texts()
    assert choices[:5] == ["class by fixmatch", "class by features", "class by probe", "label", "right or wrong"]
    page.locator("#map-legend label", has_text="class 0").locator("input").uncheck()
    expect(page.locator("#map-count")).to_have_text("Shown: 80 of 120 examples.")
    page.select_option("#map-color", label="right or wrong")
    expect(page.locator("#map-count")).to_have_text("Shown: 120 of 120 examples.")
    assert page.locator("#map-legend label").all_inner_texts() == ["right\n108", "wrong\n12"]
    page.locator("#map-legend label", has_text="right").locator("input").uncheck()
    page.get_by_label("test (12)").uncheck()
    # Two of the twelve wrong ones are in the test set.
    expect(page.locator("#map-count")).to_have_text("Shown: 10 of 120 examples.")
    page.select_option("#map-color", label="class by probe")
    page.locator("#map-legend").get_by_role("button", name="Hide all").click()
    expect(page.locator("#map-count")).to_contain_text("Shown: 0 ")
    page.select_option("#map-color", label="confidence")
    page.select_option("#map-class", label="class 2")
    expect(page.locator("#map-count")).not_to_contain_text("Shown: 0 ")
    assert page.locator("#map-legend label").first.inner_text() == "0\u201310\u00a0%\n12"
    assert shown.inner_text().endswith("of 120 examples.")


def test_the_map_moves_and_zooms(page):
    page.get_by_role("button", name="Zoom in").click()
    page.get_by_role("button", name="Zoom in").click()
    before = page.evaluate("map.x")
    x, y = place_of(page, 61)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 100, y, steps=4)
    page.mouse.up()
    assert page.evaluate("map.x") > before and page.evaluate("map.chosen") == -1
    page.get_by_role("button", name="All", exact=True).click()
    assert page.evaluate("[map.x, map.y, map.zoom]") == [0.5, 0.5, 1]


def test_examples_are_sorted_filtered_and_found_on_the_map(page):
    assert names(page)[:2] == ["0.png", "1.png"] and len(names(page)) == 24
    page.select_option("#cards-sort", label="most confident")
    assert names(page)[0] == "119.png"
    page.select_option("#cards-sort", label="methods disagree")
    assert names(page)[:2] == ["6.png", "13.png"]
    page.get_by_role("button", name="Show more (24 of 120)").click()
    assert len(names(page)) == 48
    page.select_option("#cards-part", label="test")
    assert page.inner_text("#cards-count") == "12 examples." and page.locator("#cards-more").is_hidden()
    page.get_by_label("Only wrong ones").check()
    assert page.locator("#cards .warning").count() == len(names(page)) == 2
    page.locator("#cards-form").get_by_role("button", name="Reset").click()
    expect(page.locator("#cards-count")).to_have_text("120 examples.")
    page.get_by_role("button", name="On the map: 3.png").click()
    assert page.locator("#map-panel").get_by_role("heading").inner_text() == "3.png"
    assert page.evaluate("document.activeElement.id") == "map-canvas"


def test_texts_and_recordings_are_shown_as_they_are(page):
    cards = page.locator("#cards > li")
    assert cards.nth(8).locator("audio").get_attribute("aria-label") == "Recording: 8.png"
    found = "document.querySelector('#cards audio')"
    page.evaluate(f"{found}.duration || new Promise((known) => {{ {found}.onloadedmetadata = known; }})")
    assert page.evaluate(f"{found}.duration") == pytest.approx(0.01)
    assert cards.nth(9).locator("blockquote").inner_text() == HOSTILE and names(page)[9] == HOSTILE
    assert page.evaluate("document.querySelector('#cards img').naturalWidth") == 1


def test_a_confused_pair_shows_its_examples(page):
    page.locator("table.pairs tbody button").first.click()
    assert page.inner_text("#cards-count") == "4 examples."
    assert page.locator("#cards .warning").count() == 4
    page.locator("table.pairs thead th").nth(2).get_by_role("button").click()
    assert page.locator("table.pairs thead th").nth(2).get_attribute("aria-sort") == "ascending"


def test_label_errors_and_duplicates_are_beside_their_media(browser, tmp_path):
    errors = [{"example": i, "given": 0, "suggested": 1, "probability": 0.9} for i in range(15)]
    write_page(tmp_path / "a.html", make_document(label_errors=errors))
    with opened(browser, (tmp_path / "a.html").as_uri()) as page:
        found = page.locator("#labels ol.found > li")
        assert found.nth(3).locator("img").get_attribute("alt") == "Picture: 3.png"
        assert page.locator("#labels ol.found > li:visible").count() == 12
        page.get_by_role("button", name="Show all 15").click()
        assert page.locator("#labels ol.found > li:visible").count() == 15
        assert page.locator("#duplicates li img").count() == 2


def test_a_matrix_of_many_classes_is_read_cell_by_cell(browser, tmp_path):
    write_page(tmp_path / "a.html", make_document(300, 30))
    with opened(browser, (tmp_path / "a.html").as_uri()) as page:
        page.focus("#matrix-canvas")
        assert page.inner_text("#matrix-cell") == "class 0, recognized: 10 examples, 100\u00a0% of the class"
        for _ in range(9):
            page.keyboard.press("ArrowDown")
        for _ in range(10):
            page.keyboard.press("ArrowRight")
        assert page.inner_text("#matrix-cell") == "class 9, taken for class 10: 10 examples, 100\u00a0% of the class"
        assert page.evaluate("document.getElementById('matrix-canvas').width") > 300


def test_the_command_is_copied(browser, address):
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(address)
    page.get_by_role("button", name="Copy").click()
    expect(page.locator("#copied")).not_to_be_empty()
    assert page.inner_text("#copied") in ("Copied.", "Selected: copy it with Ctrl+C.")
    if page.inner_text("#copied") == "Copied.":
        assert page.evaluate("navigator.clipboard.readText()") == "hf-ssl train --labeled L \\\n  --unlabeled U"
    context.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 900, 1600])
def test_the_page_fits_its_width_in_both_themes(browser, address, tmp_path, width, theme):
    other = {"light": "dark", "dark": "light"}[theme]
    background = {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 24, 29)"}
    document = make_document(60, 2, kind="text", title="a" * 300, command="x" * 500)
    document["classes"][0]["name"] = "b" * 300
    document["media"][0] = {"kind": "text", "text": "c" * 300}
    document["facts"] = [["d" * 100, "e" * 300]]
    write_page(tmp_path / "long.html", document)
    for place in (address, (tmp_path / "long.html").as_uri()):
        with opened(browser, place, viewport={"width": width, "height": 800}, color_scheme=theme) as page:
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            back = "getComputedStyle(document.body).backgroundColor"
            assert page.evaluate(back) == background[theme]
            page.select_option("#theme", other)
            assert page.evaluate(back) == background[other]


def test_the_tables_are_there_without_script(browser, address):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    assert page.locator("#classes tbody tr").count() == 3 and page.locator("#curves svg").last.is_visible()
    assert page.locator("#map noscript").inner_text() == "The map and the examples need JavaScript, which is off."
    assert page.locator("#map-canvas").is_hidden() and page.locator("#labels li").is_visible()
    context.close()


def test_10_000_examples_open_in_three_seconds_and_take_less_than_5_mb(browser, tmp_path):
    path = tmp_path / "inspect.html"
    write_page(path, large_document())
    assert 3_500_000 < path.stat().st_size < 5_000_000
    seconds = []
    for _ in range(3):
        with opened(browser, path.as_uri()) as page:
            expect(page.locator("#map-count")).to_contain_text("Shown: 10,000 of 10,000")
            seconds.append(page.evaluate("performance.now()") / 1000)
    if os.getloadavg()[0] <= 2 * (os.cpu_count() or 1):  # Else it is the other processes that are measured.
        assert min(seconds) < 3
