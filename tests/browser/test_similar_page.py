"""The page of alike submissions in a real browser: clusters, marks that lead to each other, a hostile class."""

from pathlib import Path

import pytest
from looks import HOSTILE, LONG, looks

from autograder.results.comparison import Comparison
from autograder.results.similar import Findings, written
from autograder.results.similar_page import page as similar_page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


def code(start: int) -> str:
    """Forty lines that nobody else writes, with a hostile text among them."""
    lines = [f"    total = module.step{start + step}(total, {start + step})" for step in range(40)]
    return "\n".join(["def solve(module, total):", *lines, f"    return total, '''{HOSTILE}''', {LONG}"])


@pytest.fixture
def address(tmp_path: Path) -> str:
    """The page's, as a file: a cluster of twelve, one of two, one like the public solution."""
    texts = {f"s{number:02}": code(0) for number in range(12)}
    texts |= {HOSTILE: code(1000), "bo": f"mine = 1\n{code(1000)}", "cy": code(3000), "alone": code(4000)}
    learners = {name: {"solve": written([text])} for name, text in texts.items()}
    sources = {"the public solution": {"solve": written([code(3000)])}}
    compared = [{name: {"solve": own["solve"].words} for name, own in side.items()} for side in (learners, sources)]
    findings = Findings("03-kv-cache", learners, sources, Comparison(compared[0], sources=compared[1]), [HOSTILE])
    path = tmp_path / "similar.html"
    path.write_text(similar_page(findings, {"bo": LONG, "s01": "Zoë Ångström"}), encoding="utf-8")
    return path.as_uri()


def test_clusters_come_first_and_marks_lead_to_each_other(page, address, artifacts):
    """What JPlag's users expect: groups, pairs, both texts with the common parts marked; by the keyboard, too."""
    from playwright.sync_api import expect

    complaints, asked = [], []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    page.wait_for_timeout(500)
    assert page.title() == "Alike in 03-kv-cache"
    assert complaints == [], "nothing was blocked, because nothing tried"
    assert asked == [address], "the page loads nothing"
    titles = page.locator(".cluster h3").all_inner_texts()
    assert titles == ["Cluster 1: 12 submissions", "Cluster 2: 2 submissions"]
    assert page.locator("#sources tbody tr").all_inner_texts()[0].startswith("cy")

    page.locator("#clusters .cluster").nth(1).get_by_role("link").press("Enter")
    pair = page.locator("details.pair[open]")
    expect(pair, "a link into a folded pair opens it").to_have_count(1)
    left, right = pair.locator("pre").all()
    assert left.locator("mark").count() == right.locator("mark").count() == 1
    assert left.locator("mark").inner_text().lstrip("1") == right.locator("mark").inner_text().lstrip("1")
    assert "mine" not in "".join(pair.locator("mark").all_inner_texts())
    left.get_by_role("link").press("Enter")
    expect(page.locator("pre:has(:target)")).to_have_attribute("aria-label", right.get_attribute("aria-label"))

    for look in looks(page):
        page.screenshot(path=artifacts / f"similar-{look}.png")


def test_a_name_is_found_in_clusters_sources_and_pairs(page, address):
    """Three hundred names are too many to read."""
    page.goto(address)
    page.get_by_label("Find a name").fill("zoë")
    assert page.locator(".cluster:visible").count() == 1
    assert page.locator("#sources tbody tr:visible").count() == 0
    assert page.locator("details.pair:visible").count() > 0
    for names in page.locator("details.pair:visible .names").all_inner_texts():
        assert "Zoë" in names
    page.get_by_label("Find a name").fill("")
    assert page.locator(".cluster:visible").count() == 2


def test_the_page_is_whole_without_scripts(page, address):
    """A strict browser runs none: everything must stand in the page."""
    client = page.context.new_cdp_session(page)
    client.send("Emulation.setScriptExecutionDisabled", {"value": True})
    page.goto(address)
    assert page.locator("input").count() == 0
    page.locator("details.pair summary").first.click()
    assert page.locator("details.pair mark").first.is_visible()
