"""Chromium for tests of pages; a test file that imports this is skipped without playwright."""

import shutil
from contextlib import contextmanager

import pytest

api = pytest.importorskip("playwright.sync_api")
# Waits, as page.wait_for_function does, but without what the policy of our pages forbids.
expect = api.expect
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")


@contextmanager
def chromium():
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def opened(browser, address, **options):
    """A page that must not say anything in its console, nor ask for any other file or address."""

    def is_own(url):
        return url.startswith("data:") or url.split("#")[0] == address

    said = []
    page = browser.new_page(**options)
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: None if is_own(request.url) else said.append(request.url))
    page.goto(address)
    yield page
    assert said == [], "the page has errors, or asked for something"
    page.close()
