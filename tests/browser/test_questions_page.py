"""A question that a person grades, in formgrader and in the learner's feedback, with formulas and no network.

Each stage leaves a picture in tests/artifacts/browser/.
"""

from typing import TYPE_CHECKING

import nbformat
import pytest
from formgrader_page import close_dialog, command, only_this_machine, press, row

from autograder.course import Unit, find_units, nbgrader_configuration
from autograder.notebooks import grade_id
from autograder.trials.generated import answers_of, submit

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

UNIT = "03-kv-cache"
LEARNER = "ada"
# ruff: noqa: E501 - nbgrader's metadata takes a line
QUESTION = """
# %% [markdown]
# ### Exercise 8 · Why a cache (2 points)

# %% [markdown] nbgrader={"grade": true, "grade_id": "why", "locked": false, "points": 2, "schema_version": 3, "solution": true, "task": false}
# ### BEGIN SOLUTION
# The model answer says it.
# ### END SOLUTION

# %% [markdown]
# ## Your score
"""
ANSWER = (
    "Without one, $n$ steps process $\\sum_{i=1}^{n} i = \\frac{n(n+1)}{2}$ positions:\n\n"
    "$$\\text{work}(n) \\in O(n^2), \\qquad \\text{bytes} = 2 \\cdot L \\cdot H_{kv} \\cdot d \\cdot n$$\n"
)
COMMENT, POINTS = "The sum is right; say what is kept.", 1.5
CAPSTONE = "11-edge"
RECOMMENDATION = (
    "**Scenario 4, a web page for schools.** Hard limits: nothing is installed, a tab has 4 GiB, and a school's line is slow.\n\n"
    "| what | figure | from |\n|---|---|---|\n| the file | 87.7 MB | unit 11, exercise 9 |\n\nChoice: wllama."
)
PHONE = {"width": 390, "height": 844}
WIDE = {"width": 1400, "height": 900}
# What stands out of its box: a page that moves sideways, a score below its heading, a formula behind an edge.
CUT_OFF = """() => [...document.querySelectorAll('.panel-heading, .nbgrader_cell .text_cell_render > div')].filter(
    one => one.scrollHeight > one.clientHeight + 1 || one.scrollWidth > one.clientWidth + 1
).map(one => one.innerText)"""
OVERFLOWS = "document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth"


def test_a_person_grades_a_question(formgrader, page, artifacts):
    """Guards against a question shown as graded, points that are lost, formulas that need a network or lie about."""
    unit = with_a_question(formgrader.root)
    hand_in(unit)
    command(formgrader.root, "autograder", "grade", UNIT)
    strangers = only_this_machine(page)
    base, *_ = formgrader.url.partition("/formgrader?")
    page.goto(formgrader.url)
    page.goto(f"{base}/formgrader/manage_submissions/{UNIT}")
    assert row(page, LEARNER).locator(".status").text_content() == "needs manual grading"
    page.screenshot(path=artifacts / "questions-1-waits.png")

    # The question, as it is read; points and a comment, each saved when its field is left.
    row(page, LEARNER).locator(".student-name a").click()
    page.locator("#main-table td.name a").click()
    field = page.locator("input.score[id='why']")
    field.wait_for()
    assert field.input_value() == "", "no points before a person gives some"
    shows_formulas(page)
    field.scroll_into_view_if_needed()
    page.screenshot(path=artifacts / "questions-2-read.png")
    for box, value, kind in (
        (field, str(POINTS), "grade"),
        (page.locator("textarea.comment[id='why-comment'], [id='why-comment'].tabbable"), COMMENT, "comment"),
    ):
        with page.expect_response(lambda answer, kind=kind: f"/api/{kind}/" in answer.url) as saved:
            box.fill(value)
            box.blur()
        assert saved.value.ok
    page.screenshot(path=artifacts / "questions-3-graded.png")
    page.goto(f"{base}/formgrader/manage_submissions/{UNIT}")
    assert row(page, LEARNER).locator(".status").text_content() == "graded"
    press(row(page, LEARNER), "generate-feedback", f"Successfully generated feedback for '{UNIT}'")
    close_dialog(page)

    # The learner's page.
    page.goto((unit.root / "grading" / "feedback" / LEARNER / UNIT / f"{unit.notebook}.html").as_uri())
    said = page.locator("body").inner_text()
    assert COMMENT in said
    assert f"{POINTS}/2.0" in said.replace(" ", "")
    assert "model answer" not in page.content()
    for form, size in (("wide", WIDE), ("phone", PHONE)):
        page.set_viewport_size(size)
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)
            formula = shows_formulas(page)
            formula.evaluate("element => element.scrollIntoView({block: 'center'})")
            page.screenshot(path=artifacts / f"questions-4-feedback-{form}-{theme}.png")
        assert page.evaluate(OVERFLOWS) <= 0, f"the page is wider than a {form} window"
        assert page.evaluate(CUT_OFF) == []
    assert strangers <= {"cdnjs.cloudflare.com"}, "a page told somebody"


def test_the_capstone_by_machine_and_by_hand(formgrader, page, artifacts):
    """Unit 11's file by its tests, its page by a person: a rubric that isn't there, a page that is lost, a wrong sum."""
    unit = find_units(formgrader.root, [CAPSTONE])[0]
    submit(unit, LEARNER, answers_of(unit, []) | {"recommendation": RECOMMENDATION})
    command(formgrader.root, "autograder", "grade", CAPSTONE)
    only_this_machine(page)
    base, *_ = formgrader.url.partition("/formgrader?")
    page.goto(formgrader.url)
    page.goto(f"{base}/formgrader/manage_submissions/{CAPSTONE}")
    assert row(page, LEARNER).locator(".status").text_content() == "needs manual grading"
    assert row(page, LEARNER).locator(".score").text_content() == "32 / 36"
    row(page, LEARNER).locator(".student-name a").click()
    page.locator("#main-table td.name a").click()
    field = page.locator("input.score[id='recommendation']")
    field.wait_for()
    field.scroll_into_view_if_needed()
    read = page.locator("#notebook-container").first.inner_text()
    assert "An instructor grades it by this rubric, a point each" in read
    assert "Scenario 4, a web page for schools." in read
    page.screenshot(path=artifacts / "questions-5-capstone.png")
    page.wait_for_load_state("networkidle")  # a number that stands there before the page knows the old one isn't saved
    with page.expect_response(lambda answer: "/api/grade/" in answer.url) as saved:
        field.fill("3")
        field.blur()
    assert saved.value.ok
    page.goto(f"{base}/formgrader/manage_submissions/{CAPSTONE}")
    assert row(page, LEARNER).locator(".status").text_content() == "graded"
    assert row(page, LEARNER).locator(".score").text_content() == "35 / 36"
    press(row(page, LEARNER), "generate-feedback", f"Successfully generated feedback for '{CAPSTONE}'")
    page.goto((unit.root / "grading" / "feedback" / LEARNER / CAPSTONE / f"{unit.notebook}.html").as_uri())
    assert "3.0/4.0" in page.locator("body").inner_text().replace(" ", "")
    assert "law firm" not in page.locator("[name='recommendation']").locator("..").inner_text(), "the model answer"
    page.locator("[name='recommendation']").scroll_into_view_if_needed()
    page.screenshot(path=artifacts / "questions-6-capstone-feedback.png")


def with_a_question(root) -> Unit:
    """The unit with one more question, before its score, built."""
    unit = find_units(root, [UNIT])[0]
    text = unit.master.read_text(encoding="utf-8")
    before, score, behind = text.rpartition("\n# %% [markdown]\n# ## Your score\n")
    assert score
    before = before.replace("| Points | 25, in seven exercises |", "| Points | 27, in eight exercises |")
    unit.master.write_text(before + QUESTION + behind, encoding="utf-8")
    command(root, "autograder", "build", UNIT)
    return unit


def hand_in(unit: Unit) -> None:
    """A learner who answers the question alone."""
    notebook = nbformat.read(unit.release, as_version=4)
    next(cell for cell in notebook.cells if grade_id(cell) == "why").source = ANSWER
    folder = unit.root / "grading" / "submitted" / LEARNER / UNIT
    folder.mkdir(parents=True)
    nbformat.write(notebook, folder / unit.release.name)
    from nbgrader.api import Gradebook

    with Gradebook(nbgrader_configuration(unit.root).CourseDirectory.db_url) as gradebook:
        gradebook.update_or_create_student(LEARNER, first_name="Ada", last_name="Lovelace")


def shows_formulas(page: "Page"):
    """The display formula, drawn as one: with a height of two lines, and a fraction's bar in the other."""
    formulas = page.locator("math")
    display = page.locator("math[display=block]").last
    display.wait_for()
    assert formulas.count() >= 3
    assert "\\frac" not in page.locator("#notebook-container, main, body").first.inner_text()
    box = display.bounding_box()
    assert box["width"] > 100
    assert box["height"] > 10
    return display
