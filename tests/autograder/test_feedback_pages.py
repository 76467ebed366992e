"""`autograder feedback`: nbgrader's own pages, each made once, made anew when what it shows has changed."""

import shutil
from pathlib import Path

import pytest
from grading_class import BODIES, UNIT, made, skip_without_sandbox
from nbgrader.api import Gradebook

from autograder.batch.feedback import feedback, table
from autograder.batch.grade import grade
from autograder.course import CourseError, nbgrader_configuration


@pytest.fixture(scope="module")
def graded(tmp_path_factory) -> Path:
    skip_without_sandbox()
    root = made(tmp_path_factory.mktemp("made") / "mini")
    grade(root, UNIT)
    return root


@pytest.fixture
def course(graded, tmp_path) -> Path:
    return Path(shutil.copytree(graded, tmp_path / "mini"))


def pages(course: Path) -> dict[str, bytes]:
    return {path.parent.parent.name: path.read_bytes() for path in (course / "grading/feedback").rglob("*.html")}


def test_the_pages_are_nbgraders_to_the_byte(course):
    """Guards against a second way of making feedback that shows something else."""
    from nbgrader.apps import NbGraderAPI

    found = feedback(course, UNIT, workers=2)
    assert (found.made, found.same, found.failed) == (len(BODIES), 0, {})
    ours = pages(course)
    shutil.rmtree(course / "grading/feedback")
    api = NbGraderAPI(config=nbgrader_configuration(course))
    for student in BODIES:
        assert api.generate_feedback(UNIT, student)["success"]
    assert pages(course) == ours


def test_only_what_changed_is_made_again(course):
    """Guards against minutes for a comment, and against a page that is older than the points that it shows."""
    feedback(course, UNIT)
    assert feedback(course, UNIT).same == len(BODIES)
    with Gradebook(nbgrader_configuration(course).CourseDirectory.db_url) as gradebook:
        gradebook.find_comment("add", "mini", UNIT, "ada").manual_comment = "Well done."
        gradebook.find_grade("add-test", "mini", UNIT, "bea").manual_score = 2.5
        gradebook.db.commit()
    page = course / "grading/feedback/cem" / UNIT / "mini.html"
    page.write_bytes(page.read_bytes()[:1000])  # a kill in the middle of a page
    found = feedback(course, UNIT)
    assert (found.made, found.same) == (3, 1)
    now = pages(course)
    assert b"Well done." in now["ada"]
    assert b"2.5" in now["bea"]
    assert now["cem"].rstrip().endswith(b"</html>")


def test_one_that_fails_is_named_and_the_others_are_made(course):
    """Guards against a class without feedback because of one notebook."""
    broken = course / "grading/autograded/bea" / UNIT / "mini.ipynb"
    broken.chmod(0o644)
    broken.write_text("{}")
    found = feedback(course, UNIT)
    assert set(found.failed) == {"bea"}
    assert found.made == len(BODIES) - 1
    assert "bea: " in table(found)


def test_nothing_graded_is_said(mini):
    with pytest.raises(CourseError, match="autograder grade 00-mini"):
        feedback(mini, UNIT)
