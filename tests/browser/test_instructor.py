"""An instructor grades three learners with formgrader, in a real browser, beside nbgrader's commands in a shell.

From the handout by the button to comment, points by hand, feedback and report. One journey, in the order in which an
instructor makes it; each stage needs what the one before left in the gradebook. One of the learners tries to run
scripts in the pages that the instructor opens. Each stage leaves a picture in tests/artifacts/browser/.
"""

import contextlib
import csv
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import nbformat
import psutil
import pytest

from autograder.authoring.samples import Sample, read_samples
from autograder.course import Unit, find_units, nbgrader_configuration
from autograder.notebooks import TEST_SUFFIX, exercise_points, read_master
from autograder.results.feedback import BEGIN, END
from autograder.trials.generated import answers_of, submit

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page
from formgrader_page import ROOT, close_dialog, command, only_this_machine, press, row

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

UNIT = "03-kv-cache"
RIGHT, UNTOUCHED, WRONG = "all-right", "untouched", "typical-mistakes"

ASKED = {"cdnjs.cloudflare.com"}  # what the pages load from other machines: nbconvert's MathJax

MISTAKES = ("memory/query_heads_counted", "rope_interleaved_pairs", "chunks_rest_dropped")
TITLE = "document.title='pwned'"
SCRIPTS = (
    f'<script>{TITLE}</script><img src=x onerror="{TITLE}"><img src="https://learner.test"><svg onload="{TITLE}"></svg>'
    f'<iframe srcdoc="<script>parent.{TITLE}</script>"></iframe><a href="javascript:{TITLE}">help</a>'
    # formgrade.js finds a test's buttons by the first element with its id: a click here would give all points.
    '<div class="nbgrader_cell"><b id="work-test"></b><span class="full-credit">My figure</span></div>'
)
# Loses the exercise `work`, whose message then quotes the scripts; the cell's outputs hold them in other forms.
WORK_WITH_SCRIPTS = f"""from IPython.display import HTML, Latex, Markdown, display

scripts = {SCRIPTS!r}
for form in (HTML, Markdown, Latex):
    display(form(scripts))
print(scripts)


def positions_processed(prompt_tokens, new_tokens):
    raise ValueError("a message of mine: " + scripts)
"""
# As a university's list has them; the last one's learner typed the name, and it came in before lists were read.
NAMES = {RIGHT: ("Ada", "Lovelace"), UNTOUCHED: ("Bo", "Müller, Jr."), WRONG: ("Mallory", SCRIPTS)}
COMMENT, BY_HAND = "The heads are right: count keys and values once each.", 1
LOST = {"work", "memory", "rope", "chunked-prefill"}


def test_an_instructor_grades_a_unit(formgrader, page, artifacts):
    """Guards against a grader that works from a shell and not in JupyterLab's process, and against learners' scripts.

    Other grades by the button, a sandbox that dies between two clicks, a folder that isn't a unit among the
    assignments, an origin taken over by an output, a name or a page handed in, hidden tests in the feedback, a
    comment that the learner never sees, a report without the points given by hand.
    """
    unit = find_units(formgrader.root, [UNIT])[0]
    expected = hand_in(unit)
    import_names(formgrader.root)
    command(formgrader.root, "nbgrader", "autograde", UNIT, "--student", WRONG)
    by_shell = grades(unit, WRONG)
    assert by_shell == expected[WRONG]

    # From the printed address to the submissions.
    strangers = only_this_machine(page)
    picture = pictures(page, artifacts)
    base, *_ = formgrader.url.partition("/formgrader?")
    page.goto(formgrader.url)
    assignments = page.locator("#main-table td.name")
    assignments.first.wait_for()
    units = [one.name for one in find_units(ROOT)]
    assert assignments.all_text_contents() == units, "`course/` and `solutions/` hold more folders than units"
    picture("1-assignments")
    made = f"Successfully created the student version of '{UNIT}'"
    press(page.locator("#main-table tr", has_text=UNIT), "assign", made)
    picture("1-generated")
    close_dialog(page)
    # By its address: the line is drawn anew behind the dialog, and a click that falls into that is lost.
    submissions = page.locator("#main-table tr", has_text=UNIT).locator("td.num-submissions a")
    page.goto(urljoin(page.url, submissions.get_attribute("href")))
    assert status(page) == {RIGHT: "needs autograding", UNTOUCHED: "needs autograding", WRONG: "graded"}
    for learner in (RIGHT, UNTOUCHED):
        assert row(page, learner).locator(".student-name").text_content().strip() == ", ".join(NAMES[learner][::-1])
    assert page.title() != "pwned", "a learner's name ran in the instructor's page"
    picture("2-submissions")

    # The button: those that remain, then again the one that the shell has graded.
    for learner in (RIGHT, UNTOUCHED, WRONG):
        if learner == WRONG:
            end_sandbox(formgrader.process)  # as a person or a full memory may, while the server goes on
        log = press(row(page, learner), "autograde", f"Successfully autograded '{UNIT}' for student '{learner}'")
        assert "Traceback" not in log
        assert grades(unit, learner) == expected[learner], learner
        picture(f"3-autograded-{learner}")
        close_dialog(page)
    assert status(page) == dict.fromkeys((RIGHT, UNTOUCHED, WRONG), "graded")
    points = exercise_points(read_master(unit))
    totals = {learner: f"{sum(expected[learner].values()):g} / {sum(points.values()):g}" for learner in expected}
    assert {learner: row(page, learner).locator(".score").text_content() for learner in expected} == totals
    picture("4-graded")

    handed_in = unit.root / "grading" / "autograded" / WRONG / UNIT
    assert [path.name for path in handed_in.iterdir()] == [f"{unit.notebook}.ipynb"], "formgrader would serve the rest"

    # One submission, as it is read for grading by hand.
    row(page, WRONG).locator(".student-name a").click()
    page.locator("#main-table td.name a").click()
    page.locator("input[id='memory-test'][placeholder]").wait_for()  # the points; a person's would be the value
    picture("5-read")
    no_script_ran(page)
    for exercise in points:
        assert page.locator(f"[id='{exercise}{TEST_SUFFIX}']").count() == 1, "a learner's element poses as a test's"
    for exercise, worth in expected[WRONG].items():
        field = page.locator(f"input[id='{exercise}{TEST_SUFFIX}']")
        assert float(field.get_attribute("placeholder")) == worth, exercise
        assert f"/ {points[exercise]:.1f}" in field.locator("..").text_content(), exercise
    shown = page.locator("#notebook-container").first.inner_text()
    assert "46080" in shown, "what the exercise `memory` expected"
    assert "138240" in shown, "what it got"
    assert "likely cause: a key and a value in each of 30 layers, for each of 3 KV heads" in shown
    assert "a message of mine: <script>" in shown, "the learner's own exception, as text"
    picture("6-read-wrong", page.locator("[id='memory-test']"))
    picture("7-read-scripts", page.get_by_text("a message of mine").first)

    # A comment, and a point for what was right after all; each is saved when the field is left.
    for field, value, kind in (("memory-comment", COMMENT, "comment"), ("memory-test", str(BY_HAND), "grade")):
        with page.expect_response(lambda answer, kind=kind: f"/api/{kind}/" in answer.url) as saved:
            page.locator(f".tabbable[id='{field}']").fill(value)
            page.locator(f".tabbable[id='{field}']").blur()
        assert saved.value.ok
    picture("8-by-hand", page.locator("[id='memory-comment']"))
    expected[WRONG]["memory"] = BY_HAND
    assert grades(unit, WRONG) == expected[WRONG]

    # Feedback, by the button.
    page.goto(f"{base}/formgrader/manage_submissions/{UNIT}")
    press(row(page, WRONG), "generate-feedback", f"Successfully generated feedback for '{UNIT}' for student '{WRONG}'")
    picture("9-feedback-generated")
    close_dialog(page)
    feedback = formgrader.root / "grading" / "feedback" / WRONG / UNIT / f"{unit.notebook}.html"
    page.goto(feedback.as_uri())
    said = page.locator("#notebook-container").first.inner_text()
    assert "likely cause: a key and a value in each of 30 layers, for each of 3 KV heads" in said
    assert COMMENT in said
    assert f"{BY_HAND}.0/{points['memory']:.1f}" in said.replace(" ", ""), "the points given by hand"
    written = " ".join(page.locator("html").text_content().split())
    for line in hidden_lines(unit):
        assert line not in written, f"the feedback shows a hidden test: {line}"
    no_script_ran(page)
    picture("10-feedback")
    picture("11-feedback-wrong", page.locator("[name='memory-test']").first)

    # The report.
    command(formgrader.root, "autograder", "report", UNIT)
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        page.goto((formgrader.root / "grading" / "report.html").as_uri())
        picture(f"12-report-{theme}")
    assert page.title() == f"Results of {UNIT}", "a learner's name ran in the report"
    mean = sum(sum(own.values()) for own in expected.values()) / len(expected)
    assert f"mean {mean:.1f} of {sum(points.values()):g} points" in page.locator("main, body").first.inner_text()
    page.get_by_role("button", name="At risk").click()
    assert strangers <= ASKED, "a page that an instructor opened told somebody"


def hand_in(unit: Unit) -> dict[str, dict[str, float]]:
    """Make the three submissions; return the points that each learner must get for each exercise."""
    (ours,) = find_units(ROOT, [UNIT])
    samples = {sample.name: sample for sample in read_samples(ours, "wrong")}
    mistakes = [samples[name] for name in MISTAKES]
    mistakes.append(Sample("scripts", "", frozenset({"work-test"}), {"work": WORK_WITH_SCRIPTS}))
    assert {test.removesuffix(TEST_SUFFIX) for mistake in mistakes for test in mistake.loses} == LOST
    for learner, answers in {RIGHT: answers_of(unit, []), UNTOUCHED: {}, WRONG: answers_of(unit, mistakes)}.items():
        submit(unit, learner, answers)
    add_markdown(unit.root / "grading" / "submitted" / WRONG / UNIT / f"{unit.notebook}.ipynb")
    points = exercise_points(read_master(unit))
    return {
        RIGHT: points,
        UNTOUCHED: dict.fromkeys(points, 0.0),
        WRONG: {exercise: 0.0 if exercise in LOST else worth for exercise, worth in points.items()},
    }


def add_markdown(submission: Path) -> None:
    """Put the scripts into a cell of text, too, and into a page beside the notebook, which formgrader would serve."""
    notebook = nbformat.read(submission, as_version=4)
    text = f"Words of mine. {SCRIPTS}\n\n{SCRIPTS}\n\n[help](javascript:{TITLE}) [figure](figure.html)"
    notebook.cells.insert(1, nbformat.v4.new_markdown_cell(text))
    nbformat.write(notebook, submission)
    submission.with_name("figure.html").write_text(SCRIPTS, encoding="utf-8")


def import_names(root: Path) -> None:
    """Tell the gradebook who the learners are, by a list as a university gives it."""
    from nbgrader.api import Gradebook

    with (root / "students.csv").open("w", encoding="utf-8", newline="") as file:
        rows = [(learner, *names) for learner, names in NAMES.items() if learner != WRONG]
        csv.writer(file).writerows([("id", "first_name", "last_name"), *rows])
    command(root, "nbgrader", "db", "student", "import", "students.csv")
    first, last = NAMES[WRONG]
    with Gradebook(nbgrader_configuration(root).CourseDirectory.db_url) as gradebook:
        gradebook.update_or_create_student(WRONG, first_name=first, last_name=last)


def grades(unit: Unit, learner: str) -> dict[str, float]:
    """Exercise -> points in the gradebook."""
    from nbgrader.api import Gradebook

    with Gradebook(nbgrader_configuration(unit.root).CourseDirectory.db_url) as gradebook:
        notebooks = gradebook.find_submission(UNIT, learner).notebooks
        found = [grade for notebook in notebooks for grade in notebook.grades]
        assert not any(grade.needs_manual_grade for grade in found)
        return {grade.name.removesuffix(TEST_SUFFIX): grade.score for grade in found}


def end_sandbox(server: int) -> None:
    """Kill the warm process that the server keeps for all its clicks."""
    tree = psutil.Process(server).children(recursive=True)
    sandbox = [process for process in tree if "autograder.isolation.zygote" in process.cmdline()]
    assert sandbox, "no sandbox is kept warm"
    for process in sandbox:
        with contextlib.suppress(psutil.NoSuchProcess):  # it goes with one that was killed before
            process.kill()
    psutil.wait_procs(sandbox, timeout=10)


def pictures(page: "Page", folder: Path) -> Callable:
    """A function that keeps a picture of the window, scrolled to an element."""

    def picture(name: str, of: "Locator | None" = None) -> None:
        if of:
            of.evaluate("element => element.scrollIntoView({block: 'center'})")
        page.wait_for_timeout(500)  # dialogs fade in
        page.screenshot(path=folder / f"instructor-{name}.png")

    return picture


def status(page: "Page") -> dict[str, str]:
    """Learner -> what the table of submissions says about the grading."""
    return {learner: row(page, learner).locator(".status").text_content() for learner in (RIGHT, UNTOUCHED, WRONG)}


def no_script_ran(page: "Page") -> None:
    """Neither did one change the title, nor waits one for a click in the page."""
    page.wait_for_timeout(1000)  # a picture that can't be loaded takes a moment to fail
    assert page.title() != "pwned", "a learner's script ran in the instructor's page"
    waiting = page.locator("#notebook-container").first.evaluate(
        """container => [...container.querySelectorAll('*')].filter(element =>
            ['SCRIPT', 'IFRAME', 'OBJECT', 'EMBED'].includes(element.tagName)
            || [...element.attributes].some(({name}) => name.startsWith('on'))
            || (element.hasAttribute('href') && !/^(https?:|mailto:|#)/.test(element.getAttribute('href')))
        ).map(element => element.outerHTML)"""
    )
    assert not waiting, waiting


def hidden_lines(unit: Unit) -> list[str]:
    """The lines of the hidden tests that say something and stand nowhere else in the handout."""
    handout = " ".join(unit.release.read_text(encoding="utf-8").split())
    lines, hidden = [], False
    for line in unit.master.read_text(encoding="utf-8").splitlines():
        if BEGIN in line or END in line:
            hidden = BEGIN in line
        elif hidden and len(line.strip()) > 20:
            lines.append(" ".join(line.split()))
    assert lines
    return [line for line in lines if line.replace('"', '\\"') not in handout]
