"""The report in a real browser: on a desk and on a phone, sorted by a click, with a hostile class in it."""

from collections import Counter
from pathlib import Path

import pytest
from looks import HOSTILE, LONG, PHONE, looks

from autograder.results.class_results import Exercise, Learner, Submission, UnitResults, learners
from autograder.results.report import page as report_page
from autograder.submissions.verdict import Reason

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

POINTS = 10


def units() -> list[UnitResults]:
    """Six units of a class of twenty."""
    return [unit(f"0{number}-a-unit-with-a-name") for number in range(1, 7)]


def unit(name: str) -> UnitResults:
    reasons = Counter(
        {Reason("your code raised", HOSTILE): 5, Reason(f"expected {LONG}"): 3, Reason("means of 1; 1, 2"): 2}
    )
    exercises = [
        Exercise("rope", 4, [4.0] * 15 + [0.0] * 5, reasons, 2, seconds=[0.002, 0.9]),
        Exercise("causal-attention", 6, [6.0] * 5 + [0.0] * 15),
    ]
    submissions = {f"s{number}": Submission(number / 2) for number in range(20)}
    submissions["s6"].seconds_late, submissions["s6"].penalty = 7200, 1.5
    submissions["s7"].waits_for_a_person = True
    submissions["s8"].not_graded = f"{HOSTILE} {LONG} breaks off in line 1"
    return UnitResults(name, exercises, submissions)


def class_of_twenty(results: list[UnitResults]) -> list[Learner]:
    names = {3: HOSTILE, 4: LONG, 5: "Zoë Ångström", 6: "ada"}
    return learners(results, {f"s{number}": names.get(number, f"Learner {number}") for number in range(20)})


@pytest.fixture
def address(tmp_path: Path) -> str:
    """The page's, as a file."""
    path = tmp_path / "report.html"
    path.write_text(report_page(units(), class_of_twenty(units()), tmp_path), encoding="utf-8")
    return path.as_uri()


def column(page, table: int, number: int) -> list[str]:
    """What stands in a column, from the top."""
    return page.evaluate(
        "([table, number]) => [...document.querySelectorAll('table')[table].tBodies[0].rows]"
        ".map(row => row.cells[number].textContent.trim())",
        [table, number],
    )


def test_the_report_sorts_fits_a_phone_and_runs_nothing_of_a_learners(page, address, artifacts):
    """Points sorted as text (10 before 9), a table wider than a phone, a name that is a script."""
    complaints, asked = [], []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    page.wait_for_timeout(500)
    assert page.title() == "Results"
    assert page.get_by_text("<img src=x onerror").count() > 0, "shown as text"
    assert complaints == [], "nothing was blocked, because nothing tried"

    last = page.locator("table").count() - 1
    scores = page.locator("table").nth(last).get_by_role("button", name="01-a-unit-with-a-name")
    scores.click()
    assert [float(score.split()[0]) for score in column(page, last, 2)] == [number / 2 for number in range(20)]
    scores.click()
    assert column(page, last, 2)[0].split()[0] == "9.5"
    page.locator("table").nth(last).get_by_role("button", name="Name", exact=True).click()
    names = column(page, last, 0)
    assert names.index("ada") < names.index("Learner 7") < names.index("Learner 10") < names.index("Zoë Ångström")
    page.locator("table").first.get_by_role("button", name="All points").press("Enter")  # by the keyboard
    assert column(page, 0, 0) == ["causal-attention", "rope"]

    page.get_by_label("Find a learner").fill("ångström zoë")
    assert page.locator("#class tbody tr:visible").count() == 1
    page.get_by_label("Find a learner").fill("")

    for look in looks(page):
        page.screenshot(path=artifacts / f"report-{look}.png")
    assert asked == [address], "the page loads nothing"


def test_the_report_is_whole_without_scripts(page, address):
    """A mail program or a strict browser runs none: everything must stand in the page."""
    client = page.context.new_cdp_session(page)
    client.send("Emulation.setScriptExecutionDisabled", {"value": True})
    page.goto(address)
    assert page.locator("th button").count() == 0
    assert page.get_by_text("Zoë Ångström").is_visible()


def test_on_a_phone_the_report_is_short_and_a_tap_unfolds(page, address):
    """A class of 120 in six units was 23,000 pixels long: nobody scrolls through that for one name."""
    page.set_viewport_size(PHONE)
    page.goto(address)
    folded = page.evaluate("document.documentElement.scrollHeight")
    assert not page.locator("#class").is_visible()
    page.get_by_label("Find a learner").fill("ada")
    assert page.get_by_role("rowheader", name="ada").is_visible()
    page.locator("#unit-1 summary").first.click()
    assert page.locator("#unit-1 table").is_visible()
    assert page.evaluate("document.documentElement.scrollHeight") > folded
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.locator("a[href='#person']").first.click()
    assert page.get_by_text("breaks off in line 1").first.is_visible()
