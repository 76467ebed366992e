"""Where things lie: a unit that isn't finished stops nobody from working on another."""

import pytest

from autograder.cli import main
from autograder.course import CourseError, find_units


def test_a_folder_without_a_master_is_no_unit_and_is_named(mini, monkeypatch, capsys):
    """A new unit's empty folder used to break build, lint and grading of all others."""
    (mini / "solutions" / "01-new").mkdir()
    assert [unit.name for unit in find_units(mini)] == ["00-mini"]
    assert [unit.name for unit in find_units(mini, ["00-mini"])] == ["00-mini"]
    with pytest.raises(CourseError, match=r"01-new must hold one master .* found 0"):
        find_units(mini, ["01-new"])
    monkeypatch.chdir(mini)
    assert main(["lint", "00-mini"]) == 0
    assert "01-new" not in capsys.readouterr().err, "nobody asked for it"
    assert main(["lint"]) == 0
    assert "01-new must hold one master" in capsys.readouterr().err


def test_a_folder_with_two_masters_is_not_guessed_at(mini):
    """One of the two would be graded against the other's answers."""
    master = mini / "solutions" / "00-mini" / "mini.py"
    master.with_name("copy.py").write_text(master.read_text())
    assert find_units(mini) == []
    with pytest.raises(CourseError, match="found 2"):
        find_units(mini, ["00-mini"])
