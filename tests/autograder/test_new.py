"""`autograder new`: a unit in small that holds what a unit must, and nothing of it where it can't be made."""

from pathlib import Path

import pytest

from autograder.authoring import maps
from autograder.authoring.build import differences
from autograder.authoring.check import check, table
from autograder.authoring.lint import RECALL, lint
from autograder.authoring.mutate import mutate
from autograder.authoring.new import new
from autograder.cli import main
from autograder.course import CourseError, find_units

UNIT = "98-trial-run"
MAP = """# The map

| unit | you build | so that you can | time | points |
|---|---|---|---|---|
| [00 · Mini](00-mini/mini.ipynb) | a sum | add | | 3 |

Behind the table.
"""


@pytest.fixture
def course(mini) -> Path:
    """The small course with a map of its one unit."""
    master = mini / "solutions/00-mini/mini.py"
    master.write_text(master.read_text().replace("# # Mini", "# # 00 · Mini"))
    (mini / "course" / "README.md").write_text(MAP)
    return mini


def test_a_new_unit_is_in_order_at_once(course):
    """Guards against a start that fails before its author has written a line."""
    made = new(course, UNIT, "Trial: a run")
    assert lint(course) == []
    assert differences(course) == []
    report = check(course, [UNIT], "both")
    assert report.fine, table(report)
    (counts,) = report.units[UNIT].exercises.values()
    assert (counts.wrong_caught, counts.right_accepted, counts.told) == (5, 2, 5)
    assert all(exercise.fine for exercise in mutate(course, [UNIT])[UNIT].values())
    assert all(path.exists() for path in made)


def test_it_stands_on_the_map_and_is_linked(course):
    """Guards against a unit that learners don't find."""
    made = new(course, UNIT, "Trial: a run")
    lines = (course / "course" / "README.md").read_text().split("\n")
    assert lines[4].startswith("| [00 · Mini]")
    assert lines[5] == "| [98 · Trial: a run](98-trial-run/trial_run.ipynb) | … | … | about an hour | 2 |"
    assert (
        "[98 · Trial: a run →](../98-trial-run/trial_run.ipynb)" in (course / "course/00-mini/mini.ipynb").read_text()
    )
    assert course / "course/00-mini/mini.ipynb" in made
    new(course, "50-between", "Between")
    lines = (course / "course" / "README.md").read_text().split("\n")
    assert [line[:9] for line in lines[4:7]] == ["| [00 · M", "| [50 · B", "| [98 · T"]


@pytest.mark.parametrize(
    ("name", "title", "why"),
    [
        ("98_trial", "Trial", "can't be a unit's name"),
        ("trial", "Trial", "can't be a unit's name"),
        ("98-Trial", "Trial", "can't be a unit's name"),
        ("98-../../x", "Trial", "can't be a unit's name"),
        ("00-trial", "Trial", "there is a unit 00-mini"),
        ("97-taken", "Trial", "is there already"),
        ("98-trial", "A | B", "can't be a title"),
        ("98-trial", "A\nB", "can't be a title"),
        ("98-trial", "A\rimport os", "can't be a title"),
        ("98-trial", "A\u2028B", "can't be a title"),
        ("98-trial", "A\x1b[2JB", "can't be a title"),
        ("٩٨-trial", "Trial", "can't be a unit's name"),
        ("98-" + "a" * 250, "Trial", "can't be a unit's name"),
        ("96-asked", "Trial", "is there already"),
        ("98-trial", "", "can't be a title"),
    ],
)
def test_what_can_not_be_made_changes_nothing(course, name, title, why):
    """Guards against half a unit, and against files outside of the course."""
    (course / "tests" / "submissions" / "97-taken").mkdir()
    (course / RECALL).mkdir(parents=True, exist_ok=True)
    (course / RECALL / "96-asked.toml").touch()
    before = {path: path.read_bytes() for path in course.rglob("*") if path.is_file()}
    with pytest.raises(CourseError, match=why):
        new(course, name, title)
    assert {path: path.read_bytes() for path in course.rglob("*") if path.is_file()} == before


def test_from_the_shell(course, monkeypatch, capsys):
    """Guards against a command that its help doesn't describe."""
    monkeypatch.chdir(course)
    assert main(["new", "98-trial", "--title", "Trial"]) == 0
    said = capsys.readouterr().out
    assert "solutions/98-trial/trial.py\n" in said
    assert "course/98-trial/trial.ipynb\n" in said
    assert main(["new", "98-trial", "--title", "Trial"]) == 2
    assert "there is a unit 98-trial: take another number" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "said", "finding"),
    [
        ("| 3 |", "| 4 |", "course/README.md:5: says 4 points, and the unit's tests have 3"),
        ("00 · Mini]", "00 · Sums]", "course/README.md:5: says '00 · Sums', and the unit's title is '00 · Mini'"),
        ("| | 3 |", "| an hour | 3 |", "course/README.md:5: says 'an hour', and the table at the unit's head ''"),
        (
            "| | 3 |\n",
            "| | 3 |\n| [07 · Gone](07-gone/gone.ipynb) | x | y | z | 3 |\n",
            "course/README.md:6: no unit has the notebook 07-gone/gone.ipynb",
        ),
        (
            "00-mini/mini.ipynb",
            "00-mini/sums.ipynb",
            "course/README.md: no row for 00-mini; it begins with | [00 · Mini](00-mini/mini.ipynb) |",
        ),
    ],
)
def test_a_map_that_says_something_else_is_a_finding(course, old, said, finding):
    """Guards against titles, points and times that are typed twice and changed once."""
    assert lint(course) == []
    (course / "course" / "README.md").write_text(MAP.replace(old, said))
    assert finding in lint(course)


def test_the_courses_maps_are_in_order(root):
    """Guards against a map that nothing is held against: both have a row for every unit."""
    units = find_units(root)
    assert maps.findings(root, units) == []
    for page in maps.ROWS:
        text = (root / page).read_text()
        assert all(f"{unit.name}/{unit.notebook}.ipynb" in text for unit in units), page


def test_a_course_without_maps_has_no_findings(mini):
    """Guards against findings in a course whose pages are somebody else's."""
    (mini / "README.md").write_text("# No table of units\n")
    assert maps.findings(mini, find_units(mini)) == []
