"""Questions that a person grades, from the master to the export: found, not run as tests, waited for, never a 0."""

import copy
import csv
import json
import logging
import shutil
from pathlib import Path

import nbformat
import pytest
from grading_class import OWN, rows, skip_without_sandbox
from nbgrader.api import Gradebook
from questions import (
    ATTACHED,
    ESSAY,
    IDS,
    MISHAPS,
    PICTURE,
    UNIT,
    WHY,
    WITH_QUESTIONS,
    answered,
    course_with_questions,
    hand_in,
    handout_of,
    place,
)

from autograder.authoring.check import check
from autograder.authoring.check import table as check_table
from autograder.authoring.lint import lint
from autograder.authoring.publish import leaks
from autograder.batch.grade import grade, table
from autograder.batch.regrade import regrade
from autograder.course import Unit, nbgrader_configuration
from autograder.results.export import Canvas, Grades
from autograder.results.feedback import WAITING
from autograder.results.report import report
from autograder.submissions.rebuild import rebuild
from fridge.notebook import progress, scoreboard, syllabus
from fridge.notebook.references import of_master

TEXT = '"grade_id": "why", "locked": false, "points": 2, "schema_version": 3, "solution": true'
BY_HAND = ("why", "picture", "essay")


@pytest.fixture(scope="module")
def unit(tmp_path_factory) -> Unit:
    return course_with_questions(tmp_path_factory.mktemp("made") / "mini")


@pytest.fixture(scope="module")
def graded(unit) -> Unit:
    """Ada answers everything, Bo nothing; both are graded."""
    skip_without_sandbox()
    handout = handout_of(unit)
    hand_in(unit, "ada", answered(handout))
    hand_in(unit, "bo", handout)
    summary = grade(unit.root, UNIT)
    assert summary.fine, table(summary, UNIT)
    assert summary.waiting == 2, "Bo's task waits, too"
    assert "to grade by hand" in table(summary, UNIT)
    return unit


def database(unit: Unit) -> str:
    return nbgrader_configuration(unit.root).CourseDirectory.db_url


def grades(unit: Unit, student: str) -> dict[str, tuple]:
    """Cell -> (by a test, by a person, whether it waits)."""
    with Gradebook(database(unit)) as gradebook:
        found = gradebook.find_submission(UNIT, student).notebooks[0].grades
        return {one.name: (one.auto_score, one.manual_score, one.needs_manual_grade) for one in found}


def by_hand(unit: Unit, student: str, points: dict[str, float], comment: str = "") -> None:
    """What formgrader writes when a person types points and a comment."""
    with Gradebook(database(unit)) as gradebook:
        for name, worth in points.items():
            found = gradebook.find_grade(name, "mini", UNIT, student)
            found.manual_score, found.needs_manual_grade = worth, False
        gradebook.find_comment("why", "mini", UNIT, student).manual_comment = comment
        gradebook.db.commit()


def feedback(unit: Unit, student: str) -> str:
    from nbgrader.apps import NbGraderAPI

    result = NbGraderAPI(config=nbgrader_configuration(unit.root)).generate_feedback(UNIT, student, force=True)
    assert result["success"], result["log"]
    return (unit.root / "grading/feedback" / student / UNIT / "mini.html").read_text(encoding="utf-8")


# --- the master --------------------------------------------------------------------------------------------------


def test_the_handout_has_the_questions_and_no_answer(unit, tmp_path):
    """Guards against a model answer or a mark scheme that a learner gets."""
    handout = handout_of(unit)
    assert [name for cell in handout.cells if (name := cell.metadata.get("nbgrader", {}).get("grade_id"))] == IDS
    assert place(handout, "why").source == "YOUR ANSWER HERE"
    text = unit.release.read_text()
    assert "model answer" not in text
    assert "mark scheme" not in text
    shutil.copytree(unit.root / "course", tmp_path / "course")
    assert leaks(tmp_path, [unit]) == []


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("why", "Addition is what the model answer says it is."),
        ("essay", "Two points for a drawing, as the mark scheme"),
    ],
)
def test_publish_sees_an_answer_in_text(unit, tmp_path, name, line):
    """Guards against a comparison with the master's line, which has `# ` in front of text."""
    tree = Path(shutil.copytree(unit.root / "course", tmp_path / "course"))
    shown = nbformat.read(tree / UNIT / "mini.ipynb", as_version=4)
    secret = next(one for one in WITH_QUESTIONS.splitlines() if line in one).removeprefix("# ")
    place(shown, name).source += f"\n{secret}"
    nbformat.write(shown, tree / UNIT / "mini.ipynb")
    assert any(secret in leak for leak in leaks(tree.parent, [unit]))


def test_lint_knows_them(unit):
    """Guards against a rule of test cells that is applied to a question."""
    assert lint(unit.root) == []


def test_a_model_answer_is_no_reference():
    """Guards against `fridge.reveal`, or the file for it, that gives out what a person grades."""
    assert list(of_master(UNIT, WITH_QUESTIONS)["exercises"]) == ["add"]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"points": 2', '"points": 3', "Exercise 2 · Why (2 points): the heading says 2 points, its test cells have 3"),
        ('"grade_id": "why"', '"grade_id": "why-test"', "must not end in -test"),
        ('"locked": true, "points": 4', '"locked": false, "points": 4', "a task must be locked"),
        (TEXT, TEXT.replace('"solution": true', '"solution": false'), "tests nothing"),
        ("# ### END MARK SCHEME\n", "", "1 BEGIN MARK SCHEME, 0 END MARK SCHEME"),
        ("# ### BEGIN SOLUTION\n# Addition", "# Addition", "0 BEGIN SOLUTION, 1 END SOLUTION"),
    ],
    ids=["points", "name", "locked", "text-that-tests", "mark-scheme", "solution"],
)
def test_lint_finds(unit, tmp_path, old, new, says):
    """Guards against a question that nbgrader would take for something else."""
    root = Path(shutil.copytree(unit.root, tmp_path / "mini"))
    assert old in WITH_QUESTIONS
    (root / "solutions" / UNIT / "mini.py").write_text(WITH_QUESTIONS.replace(old, new))
    assert any(says in finding for finding in lint(root)), lint(root)


def test_check_tells_what_tests_cannot(unit):
    """Guards against questions counted among the points that the master must get by tests."""
    found = check(unit.root)
    assert found.units[UNIT].master_score == found.units[UNIT].max_score == 3
    assert "why" in check_table(found)
    assert "graded by a person" in check_table(found)


def test_a_learners_table_says_who_grades(unit, monkeypatch, tmp_path):
    """Guards against points that no run of a test can ever give, and a course that is never done."""
    listed = json.loads((unit.root / "course/fridge/notebook/units.json").read_text())
    monkeypatch.setattr(syllabus, "whole", lambda: listed)
    monkeypatch.setattr(scoreboard, "_outcomes", {"add": scoreboard.RIGHT})
    shown = repr(scoreboard.show(UNIT))
    assert shown.count(scoreboard.BY_HAND) == 3
    assert "3 of 3 points" in shown
    assert "A person gives 7 more" in shown
    (tmp_path / UNIT).mkdir()
    shutil.copy(unit.release, tmp_path / UNIT)
    assert "All is done." in repr(progress.read(tmp_path, {"add": scoreboard.RIGHT}))


# --- a learner's notebook ----------------------------------------------------------------------------------------


def test_an_answer_is_found_with_its_pictures(unit):
    """Guards against text that is changed like code, and pictures that are lost."""
    handout = handout_of(unit)
    rebuilt = rebuild(answered(handout), handout)
    assert rebuilt.repairs == []
    assert place(rebuilt.notebook, "why").source == WHY
    assert place(rebuilt.notebook, "why").attachments == ATTACHED
    assert place(rebuilt.notebook, "picture").source == PICTURE
    behind = rebuilt.notebook.cells.index(place(rebuilt.notebook, "essay")) + 1
    assert rebuilt.notebook.cells[behind].source == ESSAY
    assert rebuilt.notebook.cells[behind].attachments == ATTACHED


@pytest.mark.parametrize("mishap", MISHAPS.values(), ids=list(MISHAPS))
def test_no_mishap_costs_an_answer(unit, mishap):
    """Guards against an answer that a person never sees: nbgrader gives 0 for the handout's own text."""
    handout = handout_of(unit)
    sent = answered(handout)
    mishap(sent)
    rebuilt = rebuild(sent, handout)
    why = place(rebuilt.notebook, "why")
    text = "\n".join(cell.source for cell in rebuilt.notebook.cells)
    if mishap is MISHAPS["as_code"]:
        assert why.source == "An answer in a code cell"
    else:
        for line in filter(None, WHY.splitlines()):
            assert line in why.source or (line.startswith("![s]") and "attachment:" in why.source)
        assert ATTACHED["image.png"] in why.attachments.values()
    assert place(rebuilt.notebook, "add").source == "def add(a, b):\n    return a + b"
    assert place(rebuilt.notebook, "picture").source == PICTURE
    assert ESSAY in text
    assert "A first thought." in text or mishap is not MISHAPS["copied"]
    again = rebuild(rebuilt.notebook, handout)
    assert place(again.notebook, "why").source == why.source
    assert again.repairs == []


def test_two_pictures_of_one_name_stay_two(unit):
    """Guards against Jupyter's image.png, the name of every picture, when two cells become one."""
    handout = handout_of(unit)
    sent = answered(handout)
    MISHAPS["below"](sent)
    why = place(rebuild(sent, handout).notebook, "why")
    assert len(why.attachments) == 2
    assert all(f"attachment:{name}" in why.source for name in why.attachments)


# --- grading -----------------------------------------------------------------------------------------------------


def test_what_a_person_grades_waits(graded):
    """Guards against a question that is run as a test, or counted as wrong."""
    found = grades(graded, "ada")
    assert found["add-test"] == (3, None, False)
    assert {name: found[name] for name in BY_HAND} == dict.fromkeys(BY_HAND, (None, None, True))
    bo = grades(graded, "bo")
    assert bo["why"] == bo["picture"] == (0, None, False), "the handout's own text is no answer, by nbgrader's rule"
    notebook = nbformat.read(graded.root / "grading/autograded/ada" / UNIT / "mini.ipynb", as_version=4)
    assert place(notebook, "picture").outputs[0]["text"] == "my picture\n"
    assert "mark scheme has it" in place(notebook, "essay").source, "for who grades it"


def test_the_gradebook_is_what_nbgrader_autograde_gives(graded, tmp_path):
    """Guards against two ways of grading that differ."""
    from nbgrader.apps import NbGraderAPI

    other = Path(shutil.copytree(graded.root, tmp_path / "other"))
    for name in ("autograded", "gradebook.db", "spool"):
        path = other / "grading" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    config = nbgrader_configuration(other)
    api = NbGraderAPI(config=config)
    assert api.generate_assignment(UNIT, force=True)["success"]
    for student in ("ada", "bo"):
        result = api.autograde(UNIT, student)
        assert result["success"], result["log"]
    assert rows(database(graded), without=OWN) == rows(config.CourseDirectory.db_url)


def test_points_by_hand_survive(graded, tmp_path):
    """Guards against points that a person typed and a second run takes away, of the same file or of a changed one."""
    root = Path(shutil.copytree(graded.root, tmp_path / "mini"))
    unit = Unit(root, UNIT, "mini")
    by_hand(unit, "ada", {"why": 1.5, "picture": 1, "essay": 3})
    assert grade(root, UNIT).waiting == 1, "Bo"
    assert grades(unit, "ada")["why"] == (None, 1.5, False)
    changed = answered(handout_of(unit))
    place(changed, "why").source = "Another reason."
    hand_in(unit, "ada", changed)
    assert grade(root, UNIT).waiting == 2
    assert grades(unit, "ada")["why"] == (None, 1.5, True), "to be looked at again"
    assert grades(unit, "ada")["essay"][1] == 3
    assert regrade(root, UNIT).changes == []


def test_feedback_says_what_waits_and_hides_how_it_is_marked(graded, tmp_path):
    """Guards against a 0 that looks like a verdict, and a mark scheme in the learner's hands."""
    unit = Unit(Path(shutil.copytree(graded.root, tmp_path / "mini")), UNIT, "mini")
    page = feedback(unit, "ada")
    assert WAITING.split(".")[0].strip("*") in page
    assert page.count("<code>why</code> (2 points)") == 1
    assert "Write an essay" in page
    assert "mark scheme" not in page
    assert PIXEL_SRC in page
    by_hand(unit, "ada", {"why": 1.5, "picture": 1, "essay": 3}, "Well said: $x^2$.")
    page = feedback(unit, "ada")
    assert "Waiting for a person" not in page
    assert "Well said" in page
    assert "8.5 / 10.0" in page


PIXEL_SRC = f'src="data:image/png;base64,{ATTACHED["image.png"]["image/png"]}"'


def test_the_report_waits_instead_of_counting_a_failure(graded):
    """Guards against a learner at risk because nobody has read the essay yet."""
    page = report(graded.root, [UNIT]).read_text(encoding="utf-8")
    assert "waits for a person: 7 points" in page
    ada = page[page.index(">ada<") :]
    assert "100 %" in ada[: ada.index("</tr>")]
    assert ">essay (by hand)" in page
    assert "2 wait" in page


@pytest.mark.parametrize("exporter", [Grades, Canvas])
def test_the_export_says_how_many_wait(graded, tmp_path, exporter, caplog):
    """Guards against grades that are handed over before they are whole."""
    log = logging.getLogger("traitlets")
    log.propagate = True
    with caplog.at_level(logging.WARNING), Gradebook(database(graded)) as gradebook:
        exporter(to=str(tmp_path / "out.csv"), log=logging.getLogger("export")).export(gradebook)
    assert "2 submissions wait to be graded by hand" in caplog.text
    with (tmp_path / "out.csv").open() as file:
        assert list(csv.reader(file))


def test_a_changed_question_is_another_release(graded, tmp_path):
    """Guards against points of a question that the gradebook and the handout disagree about."""
    from autograder.authoring.build import build
    from autograder.course import CourseError

    root = Path(shutil.copytree(graded.root, tmp_path / "mini"))
    handout = handout_of(Unit(root, UNIT, "mini"))
    changed = copy.deepcopy(handout)
    place(changed, "why").metadata.nbgrader.points = 5
    nbformat.write(changed, root / "course" / UNIT / "mini.ipynb")
    with pytest.raises(CourseError, match="another release"):
        grade(root, UNIT)
    build(root, [UNIT])
    assert grade(root, UNIT).fine
