"""The website in a real browser: light and dark, wide and on a phone, and its search."""

import functools
import http.server
import threading
from pathlib import Path

import pytest
from looks import looks

from autograder.authoring.site import site

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted(
    path.relative_to(ROOT) for path in ROOT.glob("course/**/[a-z]*.ipynb") if ".ipynb_checkpoints" not in path.parts
)
UNIT = "course/03-kv-cache/kv_cache/"
SEEN = ("", "course/README/", "course/zh/README/", "figures/", *(f"{page.with_suffix('')}/" for page in NOTEBOOKS))


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site") / "course"
    site(ROOT, folder)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *words):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_pages_fit_and_ask_nobody_else(page, address, artifacts):
    """Guards against a page that scrolls sideways on a phone, and one that is empty until another server answers."""
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    for path in SEEN:
        page.goto(address + path)
        page.get_by_role("heading", level=1).first.wait_for()
        name = path.strip("/").replace("/", "-") or "index"
        for look in looks(page):
            page.wait_for_timeout(300)  # the theme moves its columns in and out
            page.screenshot(path=artifacts / f"site-{name}-{look}.png")
    assert not [url for url in asked if not url.startswith((address, "data:"))]


def test_the_search_finds_a_word_of_an_exercise(page, address):
    """Guards against a search without its index."""
    page.goto(f"{address}search/?q=preallocated")
    page.get_by_role("link", name="03 · The KV cache").first.wait_for()
    page.goto(address)
    page.keyboard.press("Control+k")
    page.keyboard.type("preallocated")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search/**")


def test_tests_are_folded_and_opened_by_a_click(page, address):
    """Guards against a page of tests between which nobody finds the text."""
    page.goto(address + UNIT)
    hidden = page.locator("details.hide").first
    assert not hidden.evaluate("one => one.open")
    hidden.locator("summary").click()
    assert "expect" in hidden.inner_text()


def test_the_theme_is_the_readers(page, address):
    """Guards against a white page at night, and a switch that does nothing."""
    backgrounds = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.goto(address + UNIT)
        backgrounds.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert backgrounds[0] != backgrounds[1]
    page.get_by_role("button", name="Color mode").or_(page.locator(".theme-switch-button")).first.click()
    assert page.evaluate("document.documentElement.dataset.mode") in ("light", "dark", "auto")
