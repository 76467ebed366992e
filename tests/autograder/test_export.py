"""Exports: what a spreadsheet or an LMS reads is what the gradebook holds, whatever a name is made of."""

import csv
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from nbgrader.api import Gradebook

from autograder.course import nbgrader_configuration
from autograder.results.export import Canvas, Grades, Moodle, safe

UNIT = "00-mini"
ODD = {
    "comma": ("Ann, Mary", 'O"Neil', 3.0),
    "lines": ("Li\nNa", "Müller, Jr.", 1.5),
    "formula": ("=HYPERLINK(1)", "@SUM(A1)", 2.0),
    "-minus": ("+1", "-2", 0.0),
}
ABSENT = "absent"


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """A gradebook of odd names, one of whom handed nothing in."""
    mini = tmp_path_factory.mktemp("school")
    shutil.copy(root / "nbgrader_config.py", mini)
    with Gradebook(nbgrader_configuration(mini).CourseDirectory.db_url) as gradebook:
        gradebook.add_assignment(UNIT)
        gradebook.add_notebook("mini", UNIT)
        gradebook.add_grade_cell("add-test", "mini", UNIT, max_score=3, cell_type="code")
        for learner, (first, last, points) in ODD.items():
            gradebook.add_student(learner, first_name=first, last_name=last)
            gradebook.add_submission(UNIT, learner)
            grade = gradebook.find_grade("add-test", "mini", UNIT, learner)
            grade.auto_score, grade.needs_manual_grade = points, False
        gradebook.add_student(ABSENT)
        gradebook.find_submission(UNIT, "comma").notebooks[0].late_submission_penalty = 1.0
        gradebook.db.commit()
    return mini


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def export(root: Path, exporter: type[Grades]) -> list[dict[str, str]]:
    """What an exporter writes, as `nbgrader export --exporter` calls it."""
    with Gradebook(nbgrader_configuration(root).CourseDirectory.db_url) as gradebook:
        exporter(to=str(root / "out.csv")).export(gradebook)
    return rows(root / "out.csv")


def test_plain_export_keeps_every_value_in_its_column(school):
    """nbgrader's own exporter moves the points by a column for each comma in a name."""
    command = [Path(sys.executable).with_name("nbgrader"), "export"]  # as nbgrader_config.py tells it
    subprocess.run(command, cwd=school, check=True, capture_output=True, timeout=120)
    found = {row["student_id"]: row for row in rows(school / "grades.csv")}
    assert found["comma"]["first_name"] == "Ann, Mary"
    assert found["comma"]["last_name"] == 'O"Neil'
    assert [found["comma"][name] for name in ("raw_score", "late_submission_penalty", "score")] == ["3.0", "1.0", "2.0"]
    assert found["lines"]["first_name"] == "Li\nNa"
    assert found["lines"]["score"] == "1.5"
    assert found["formula"]["first_name"] == "'=HYPERLINK(1)"
    assert found["formula"]["last_name"] == "'@SUM(A1)"
    assert found["'-minus"]["last_name"] == "'-2"
    assert found[ABSENT]["score"] == "0.0", "as nbgrader has it"
    assert {row["max_score"] for row in found.values()} == {"3.0"}


def test_canvas_gets_its_two_header_lines_and_a_column_for_each_unit(school):
    """Canvas takes the second line for points possible, and an empty cell for no change."""
    points_possible, *learners = export(school, Canvas)
    assert list(points_possible) == ["Student", "ID", "SIS Login ID", "Section", UNIT]
    assert points_possible["Student"].strip() == "Points Possible"
    assert points_possible[UNIT] == "3.0"
    found = {row["SIS Login ID"]: row for row in learners}
    assert found["comma"]["Student"] == 'O"Neil, Ann, Mary'
    assert found["comma"][UNIT] == "2.0"
    assert found["formula"]["Student"] == "'@SUM(A1), =HYPERLINK(1)"
    assert found[ABSENT][UNIT] == ""


def test_moodle_gets_one_line_a_learner(school):
    """Moodle maps columns by their headers; a learner who handed nothing in keeps what Moodle has."""
    found = {row["Username"]: row for row in export(school, Moodle)}
    assert found["lines"]["Last name"] == "Müller, Jr."
    assert found["lines"][UNIT] == "1.5"
    assert found[ABSENT][UNIT] == ""


@pytest.mark.parametrize("value", ["=1", "+1", "-1", "@x", "\t=1", "\r=1", " =1", "＝1"])
def test_no_text_is_a_formula(value):
    """Each of these is run by one spreadsheet or another; points below zero are numbers, and stay so."""
    assert safe(value) == f"'{value}"
    assert safe(-1.5) == -1.5
    assert safe("a-b=c") == "a-b=c"
