"""Exports: what a spreadsheet or an LMS reads is what the gradebook holds, whatever a name is made of."""

import csv
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from nbgrader.api import Gradebook
from traitlets.config import Config

from autograder.collecting.roster import import_list
from autograder.collecting.students import read_list
from autograder.course import nbgrader_configuration
from autograder.results.export import Canvas, Grades, Moodle, safe

UNIT = "00-mini"
ODD = {
    "comma": ("Ann, Mary", 'O"Neil', 3.0),
    "lines": ("Li\nNa", "Müller, Jr.", 1.5),
    "formula": ("=HYPERLINK(1)", "@SUM(A1)", 2.0),
    "-minus": ("+1", "-2", 0.0),
    "+4911": ("伟", "王", 1.0),
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
    (mini / "list.csv").write_text("id,canvas_id,sis_user_id\n+4911,815,S-1\n")
    import_list(nbgrader_configuration(mini), read_list(mini / "list.csv"))
    return mini


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def export(root: Path, exporter: type[Grades]) -> list[dict[str, str]]:
    """What an exporter writes, as `nbgrader export --exporter` calls it."""
    with Gradebook(nbgrader_configuration(root).CourseDirectory.db_url) as gradebook:
        exporter(to=str(root / "out.csv")).export(gradebook)
    return rows(root / "out.csv")


def test_plain_export_keeps_every_value_in_its_column(school):
    """nbgrader's own exporter moves the points by a column for each comma in a name."""
    command = [Path(sys.executable).with_name("nbgrader"), "export"]  # as nbgrader_config.py tells it
    subprocess.run(command, cwd=school, check=True, capture_output=True, timeout=540)
    found = {row["student_id"]: row for row in rows(school / "grading/grades.csv")}
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
    assert list(points_possible) == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", UNIT]
    assert points_possible["Student"].strip() == "Points Possible"
    assert points_possible[UNIT] == "3.0"
    found = {row["SIS Login ID"]: row for row in learners}
    assert found["comma"]["Student"] == 'O"Neil, Ann, Mary'
    assert found["comma"][UNIT] == "2.0"
    assert found["formula"]["Student"] == "formula", "Canvas knows the login, and a spreadsheet runs nothing"
    assert found[ABSENT][UNIT] == ""


def test_moodle_gets_one_line_a_learner(school):
    """Moodle maps columns by their headers; a learner who handed nothing in keeps what Moodle has."""
    found = {row["Username"]: row for row in export(school, Moodle)}
    assert found["lines"]["Last name"] == "Müller, Jr."
    assert found["lines"][UNIT] == "1.5"
    assert ABSENT not in found, "Moodle takes a grade away for an empty cell"


@pytest.mark.parametrize("exporter", [Canvas, Moodle])
def test_an_lms_gets_ids_as_they_are(school, exporter):
    """An apostrophe before +4911 is another id, and a byte order mark another header: Moodle then refuses all."""
    column = "SIS Login ID" if exporter is Canvas else "Username"
    assert {"+4911", "-minus"} <= {row[column] for row in export(school, exporter)}
    assert not (school / "out.csv").read_bytes().startswith(b"\xef\xbb\xbf")


def test_people_get_a_byte_order_mark(school):
    """Excel shows Chinese names as noise without one."""
    export(school, Grades)
    assert (school / "out.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    assert "伟" in (school / "out.csv").read_text(encoding="utf-8-sig")


def test_canvas_gets_its_numbers_of_learners_and_assignments(school):
    """An assignment that exists is known by its number, a learner by theirs or the login."""
    with Gradebook(nbgrader_configuration(school).CourseDirectory.db_url) as gradebook:
        config = Config(Canvas={"numbers": {UNIT: 4711}})
        Canvas(to=str(school / "out.csv"), config=config).export(gradebook)
    points_possible, *found = rows(school / "out.csv")
    assert f"{UNIT} (4711)" in points_possible
    who = next(row for row in found if row["SIS Login ID"] == "+4911")
    assert (who["ID"], who["SIS User ID"]) == ("815", "S-1")


def test_exports_lie_where_git_ignores_them(school):
    """A table of names and points in the clone's root would be committed one day."""
    assert [exporter.default_file.split("/")[0] for exporter in (Grades, Canvas, Moodle)] == ["grading"] * 3


@pytest.mark.parametrize(
    "value", ["=1", "+1", "-1", "@x", " =1", "＝1", "\xa0=1", "\u200b=1", "\ufeff=1", "\u2003+1", "\u0301=1"]
)
def test_no_text_is_a_formula(value):
    """Each of these is run by one spreadsheet or another; points below zero are numbers, and stay so."""
    assert safe(value) == f"'{value}"
    assert safe(-1.5) == -1.5
    assert safe("a-b=c") == "a-b=c"


@pytest.mark.parametrize("sign", [";", ",", "\t", "\n", "\r"])
def test_no_text_is_a_formula_behind_what_begins_a_cell(sign):
    """A spreadsheet in Germany begins a new cell at a semicolon."""
    assert safe(f"Ada{sign}=1") == f"Ada{sign}'=1"
    assert safe(f"{sign} =1") == f"{sign}' =1"
