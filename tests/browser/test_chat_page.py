"""The chat page of `fridge serve` in a real browser, over a tiny engine that a test lets step."""

import pytest
from looks import HOSTILE, LONG, PHONE, looks
from tiny_server import NAME, GatedEngine, TinyLanguage, served, tiny_engine, until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


class Hostile(TinyLanguage):
    """Each token says something that a page might run, and a word that doesn't fit a phone."""

    vocabulary = [f"{HOSTILE} {LONG} ".encode()] * 63 + [b""]


@pytest.fixture
def watched(page):
    """The page's complaints, and the addresses that it asks for."""
    complaints, asked = [], []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    return complaints, asked


def say(page, text, tokens=20):
    page.get_by_label("At most").fill(str(tokens))
    page.get_by_label("Temperature").fill("0")  # so the tiny model says blanks, and never that it has ended
    page.get_by_label("Your message").fill(text)
    page.get_by_label("Your message").press("Enter")


def wait_for(page, what, engine=None):
    """Wait until it is true; meanwhile the browser works on, and the engine, if one is given, takes steps."""
    until(lambda: (engine and engine.allow()) or page.wait_for_timeout(20) or what())


def test_a_person_talks_and_sees_the_engine_work(page, watched, artifacts):
    """A page that shows another server's figures, keeps blocks after Stop, or is wider than a phone."""
    complaints, asked = watched
    engine = tiny_engine(GatedEngine)
    with served(engine) as url:
        engine.allow(10)
        page.goto(url)
        page.get_by_text(NAME, exact=True).wait_for()
        assert page.locator("#blocks i").count() == 256
        say(page, "hello", tokens=3000)
        owned = page.locator("#blocks i[class*=owner]")
        wait_for(page, lambda: owned.count() > 0 and page.locator("#speed").text_content() not in ("–", "…"), engine)
        assert page.locator("#running tr").count() == 1
        for look in looks(page):
            page.screenshot(path=artifacts / f"chat-{look}.png", full_page=True)
        page.get_by_role("button", name="Stop").click()
        wait_for(page, lambda: owned.count() == 0, engine)
        assert engine.taken < 3000
        assert page.locator("#blocks i.kept").count() > 0, "found again by their content"

        engine.open()
        say(page, "and now a short one", tokens=30)
        wait_for(page, lambda: page.locator("#tokens").text_content().endswith(" + 30"))
        assert float(page.locator("#speed").text_content()) > 0
        assert page.locator(".turn").count() == 4
        page.get_by_role("button", name="New").click()
        assert page.locator(".turn").count() == 0
        assert page.locator("#trouble").is_hidden()
    assert complaints == []
    assert all(one.startswith(url) for one in asked), "nothing from elsewhere"


def test_what_a_model_says_is_shown_as_text(page, watched):
    """A reply that is put into the page as HTML: a model may say whatever somebody has taught it to."""
    complaints, _ = watched
    page.set_viewport_size(PHONE)
    with served(language=Hostile()) as url:
        page.goto(url)
        page.get_by_text(NAME, exact=True).wait_for()
        say(page, HOSTILE, tokens=2)
        page.locator(".turn.assistant").get_by_text("<img src=x onerror").wait_for()
        page.wait_for_timeout(300)
        assert "pwned" not in page.title()
        assert page.locator(".turn img, .turn script").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        assert complaints == [], "nothing was blocked, because nothing tried"
        headers = page.request.get(url).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]


def test_what_goes_wrong_is_told(page, watched):
    """An error that leaves the page silent, or a conversation that can't go on after it. A key is asked for."""
    with served(key="secret") as url:
        page.goto(url)
        page.get_by_label("API key").fill("secret")
        page.get_by_text(NAME, exact=True).wait_for()
        say(page, "hello", tokens=4090)
        page.get_by_role("alert").filter(has_text="there is room for").wait_for()
        assert page.locator(".turn.assistant").count() == 0
        say(page, "hello", tokens=3)
        page.locator(".turn.assistant").wait_for()
        wait_for(page, lambda: "23 + 3" in page.locator("#tokens").text_content())
        assert page.get_by_role("alert").is_hidden()
