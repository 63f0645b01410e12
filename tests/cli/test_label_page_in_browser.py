"""The labeling page in Chromium: keys, new classes, undo, narrow and wide, light and dark.

Needs `pip install playwright` and a Chromium on this machine; skipped without.
"""

import shutil
import threading

import pytest

from hf_ssl.cli.label_file import LabelFile
from hf_ssl.cli.label_server import LabelServer
from hf_ssl.cli.labeling import Labeling

from tests.helpers.command_data import read_csv, write_csv, write_image, write_sound

api = pytest.importorskip("playwright.sync_api")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
]
HOSTILE = '<img src=x onerror="document.title=1">'


@pytest.fixture(scope="module")
def browser():
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser):
    running = []

    def opened(path, classes=()):
        file = LabelFile(path)
        server = LabelServer(Labeling(file, classes))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        page, said = browser.new_page(), []
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on(
            "request", lambda request: None if request.url.startswith(server.address) else said.append(request.url)
        )
        running.append((file, server, thread, page, said))
        page.goto(server.address)
        page.wait_for_selector("#example :first-child")
        return page

    yield opened
    for file, server, thread, page, said in running:
        page.close()
        server.shutdown()
        thread.join(timeout=20)
        server.server_close()
        file.close()
        assert [line for line in said if not line.startswith("data:")] == [], "errors, or requests elsewhere"


def labels_of(path):
    return [row["label"] for row in read_csv(path)]


def test_texts_by_the_keyboard(open_page, tmp_path):
    path = write_csv(tmp_path / "rows.csv", [("a rose", ""), (HOSTILE, ""), ("the sky", ""), ("a leaf", "")])
    page = open_page(path, ["red", "blue"])
    said = page.locator("#said")
    page.keyboard.press("1")
    api.expect(page.locator("#count")).to_have_text("1 of 4 labeled")
    api.expect(page.locator("#example")).to_have_text(HOSTILE)
    assert page.title() == "rows.csv"
    page.keyboard.press("ArrowRight")
    api.expect(page.locator("#caption")).to_have_text("3 of 4")
    page.keyboard.press("2")
    api.expect(page.locator("#caption")).to_have_text("4 of 4")
    assert labels_of(path) == ["red", "", "blue", ""]
    page.keyboard.press("n")
    page.keyboard.type("green 2")
    page.keyboard.press("Enter")
    api.expect(page.locator("#caption")).to_have_text("2 of 4")
    assert labels_of(path)[3] == "green 2"
    assert page.locator("#classes button").all_inner_texts() == ["1 red", "2 blue", "3 green 2"]
    page.keyboard.press("u")
    api.expect(said).to_have_text("Taken back.")
    assert labels_of(path) == ["red", "", "blue", ""]
    page.keyboard.press("3")
    api.expect(page.locator("#caption")).to_have_text("2 of 4")
    page.keyboard.press("1")
    api.expect(said).to_contain_text("All are labeled")
    assert labels_of(path) == ["red", "red", "blue", "green 2"]


def test_pictures_and_finish(open_page, tmp_path):
    for i in range(2):
        write_image(tmp_path / f"{i}.png", "red", i)
    path = write_csv(tmp_path / "rows.csv", [("0.png", ""), ("gone.png", ""), ("1.png", "")], ("image", "label"))
    page = open_page(path, ["red"])
    api.expect(page.locator("#example img")).to_have_js_property("naturalWidth", 16)
    assert page.locator("#example img").get_attribute("alt") == "the picture 0.png"
    page.get_by_role("button", name="red").click()
    api.expect(page.locator("#example")).to_have_text("gone.png cannot be shown or played.")
    page.get_by_role("button", name="Finish").click()
    api.expect(page.locator("main")).to_contain_text("Every answer is saved")


def test_recordings_play(open_page, tmp_path):
    write_sound(tmp_path / "a.aiff", "high")
    page = open_page(write_csv(tmp_path / "rows.csv", [("a.aiff", "")], ("audio", "label")), ["high"])
    # The page's rules forbid what `wait_for_function` does to ask again.
    looks = (
        page.wait_for_timeout(50) or page.evaluate("document.querySelector('audio').duration") for _ in range(200)
    )
    assert any(seconds and seconds > 0.2 for seconds in looks)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 800, 1600])
def test_the_page_fits_its_width_in_both_themes(open_page, tmp_path, width, theme):
    path = write_csv(tmp_path / "rows.csv", [("word " * 300 + "x" * 300, "")])
    page = open_page(path, [f"a class with a rather long name {i}" for i in range(12)])
    page.emulate_media(color_scheme=theme)
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    back = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert back == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 24, 29)"}[theme]
