"""Due dates, a learner's own, penalties: the same in `autograder grade`, `nbgrader autograde` and the formgrader."""

import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
from grading_class import UNIT, hand_in, made, skip_without_sandbox
from nbgrader.api import Gradebook
from nbgrader.apps import NbGraderAPI

from autograder.batch.grade import grade
from autograder.collecting.dates import PerDay, own_dates
from autograder.course import CourseError, find_units, nbgrader_configuration

SETTINGS = """
c.AssignLatePenalties.plugin_class = "autograder.collecting.dates.PerDay"
c.PerDay.percent = 10
"""
EXTENSIONS = f"id,unit,due\ndia,{UNIT},2027-03-04 00:59 Europe/Berlin\n"
LATE = {"ada": "2027-03-01 22:00:00 UTC", "bea": "2027-03-03 12:00:00 UTC", "dia": "2027-03-03 12:00:00 UTC"}


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Due on March 1 in Berlin; bea and dia hand in two days later, and dia has two days more."""
    skip_without_sandbox()
    root = made(tmp_path_factory.mktemp("dates"))
    (root / "nbgrader_config.py").write_text((root / "nbgrader_config.py").read_text() + SETTINGS)
    unit = find_units(root, [UNIT])[0]
    for learner, when in LATE.items():
        hand_in(unit, learner, "return a + b", when)
    command = [Path(sys.executable).with_name("nbgrader"), "db", "assignment", "add", UNIT]
    subprocess.run([*command, "--duedate", "2027-03-01 23:59 Europe/Berlin"], cwd=root, check=True, capture_output=True)
    (root / "grading/extensions.csv").write_text(EXTENSIONS)
    return root


def copied(school: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(school, tmp_path / "school"))


def points(root: Path) -> dict[str, tuple[float, float]]:
    """Learner -> (points, taken off for being late)."""
    with Gradebook(nbgrader_configuration(root).CourseDirectory.db_url) as gradebook:
        found = gradebook.assignment_submissions(UNIT)
        return {
            one.student_id: (one.score, one.late_submission_penalty or 0.0) for one in found if one.student_id in LATE
        }


EXPECTED = {"ada": (3.0, 0.0), "bea": (3.0, pytest.approx(0.6)), "dia": (3.0, 0.0)}


def test_autograder_grade(school, tmp_path):
    """Two days begun cost 20 percent; who has another date isn't late. A new date changes what is graded already."""
    root = copied(school, tmp_path)
    assert grade(root, UNIT).fine
    assert points(root) == EXPECTED
    (root / "grading/extensions.csv").write_text(EXTENSIONS + f"bea,{UNIT},2027-03-02 23:59 +0100\n")
    assert grade(root, UNIT).fine
    assert points(root)["bea"] == (3.0, pytest.approx(0.3))
    (root / "grading/extensions.csv").write_text("id,unit,due\n")
    grade(root, UNIT)
    assert points(root)["dia"] == (3.0, pytest.approx(0.6))


def test_nbgrader_autograde(school, tmp_path):
    """The same points by nbgrader's own command."""
    root = copied(school, tmp_path)
    command = [Path(sys.executable).with_name("nbgrader"), "autograde", UNIT]
    subprocess.run(command, cwd=root, check=True, capture_output=True, timeout=540)
    assert points(root) == EXPECTED


def test_formgraders_button(school, tmp_path):
    """The same points by what the button calls."""
    root = copied(school, tmp_path)
    api = NbGraderAPI(config=nbgrader_configuration(root))
    for learner in LATE:
        result = api.autograde(UNIT, learner)
        assert result["success"], result["log"]
    assert points(root) == EXPECTED


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ada,00-mini,2027-03-01\n", "first line must be id,unit,due"),
        ("id,unit,due\nada,00-mini,2027-03-01 12:00\n", "line 2: 2027-03-01 12:00 says no zone"),
        ("id,unit,due\nada,00-mini,tomorrow\n", "line 2"),
        ("id,unit,due\nada,00-mini,2027-03-01 12:00 Europe/Nowhere\n", "line 2"),
        ("id,unit,due\n../x,00-mini,2027-03-01 12:00 UTC\n", "begins with a dot"),
    ],
)
def test_a_date_that_can_not_be_meant_is_said(tmp_path, text, said):
    """A date read in the wrong zone would cost somebody points without a word."""
    (tmp_path / "grading").mkdir()
    (tmp_path / "grading/extensions.csv").write_text(text)
    with pytest.raises(CourseError, match=said):
        own_dates(tmp_path, UNIT)


def test_dates_as_excel_saves_them(tmp_path):
    """A byte order mark, semicolons, empty lines."""
    (tmp_path / "grading").mkdir()
    (tmp_path / "grading/extensions.csv").write_text(
        "\ufeffid;unit;due\r\nada;00-mini;2027-07-01 12:00 Europe/Berlin\r\n;;\r\n"
    )
    assert own_dates(tmp_path, UNIT) == {"ada": datetime(2027, 7, 1, 10, 0)}
    assert own_dates(tmp_path, "01-other") == {}


@pytest.mark.parametrize(
    ("seconds", "settings", "penalty"),
    [
        (1, {}, 1.0),
        (24 * 3600, {}, 1.0),
        (24 * 3600 + 1, {}, 2.0),
        (365 * 24 * 3600, {}, 10.0),
        (365 * 24 * 3600, {"at_most": 50}, 5.0),
        (600, {"grace_minutes": 10}, None),
        (601, {"grace_minutes": 10}, 1.0),
        (1, {"percent": 25}, 2.5),
    ],
)
def test_a_penalty_for_each_day_begun(seconds, settings, penalty):
    """10 points, so much too late."""
    assert PerDay(**settings).late_submission_penalty("ada", 10.0, seconds) == penalty
