"""Every command of autograder/GUIDE.md, in its order, from a git clone: with a small class, and with one of 120."""

import csv
from pathlib import Path

import pytest
from conftest import ROOT
from grading_class import skip_without_sandbox
from guide import EXCEPTED, MINUTES, clone, commands, run, table, with_a_class

GUIDE = (ROOT / "autograder/GUIDE.md").read_text(encoding="utf-8")
SMALL, LARGE = 16, 120  # the small one has namesakes, a double upload, a late one and two from Colab


def go_through(folder: Path, size: int) -> None:
    skip_without_sandbox()
    teacher = clone(folder)
    _, people = with_a_class(teacher, size)
    handed_in = {one.id for one in people if one.work is not None}
    steps = []
    for command in commands(GUIDE):
        if command.startswith("mv grading"):
            check(teacher, handed_in, len(people))
        steps.append(run(teacher, command))
        assert steps[-1].code == 0, f"$ {command}\n{steps[-1].said}"
        assert "Traceback" not in steps[-1].said, f"$ {command}\n{steps[-1].said}"
    print(table(steps))
    collected = [step.said.split() for step in steps if step.command.startswith("autograder collect")]
    # Moodle's archive holds what Canvas's does; of the last one, one file is new.
    assert [said[1] for said in collected] == [str(len(handed_in)), "0", "0"]
    assert [said[3] for said in collected] == ["0", "0", "1"]
    graded = [step.said.split()[1] for step in steps if step.command.startswith("autograder grade")]
    assert graded == [str(len(handed_in)), "0", "1"]


def check(teacher: Path, handed_in: set[str], enrolled: int) -> None:
    """What the guide promises is there before the year's end."""
    assert {path.name for path in (teacher / "grading/submitted").iterdir()} == handed_in
    assert {path.parent.parent.name for path in (teacher / "grading/feedback").rglob("*.html")} == handed_in
    with (teacher / "grading/grades.csv").open(encoding="utf-8-sig", newline="") as file:
        grades = list(csv.DictReader(file))
    assert len({row["student_id"] for row in grades}) == enrolled
    assert any(row["first_name"] == "伟" for row in grades)
    with (teacher / "grading/moodle.csv").open(encoding="utf-8", newline="") as file:
        assert {row["Username"] for row in csv.DictReader(file)} == handed_in
    assert (teacher / "grading/report.html").is_file()


@pytest.mark.timeout(60 * MINUTES)
def test_the_guide_with_a_small_class(tmp_path):
    """A command that was renamed, a file that isn't there yet, a step that needs what a later one makes."""
    go_through(tmp_path, SMALL)


@pytest.mark.long
@pytest.mark.timeout(60 * 60 * 3)
def test_the_guide_with_a_class_of_120(tmp_path):
    """The tables of a whole class, with each step's wall and CPU time: pytest -m long -s."""
    go_through(tmp_path, LARGE)


def test_what_is_excepted_stands_in_the_guide():
    """An exception for a command that is gone would hide a new one."""
    text = "\n".join(GUIDE.splitlines())
    assert [start for start in EXCEPTED if start not in text] == []


def test_commands_are_found_whole():
    """Here documents and lines that go on belong to their command; a comment is none."""
    guide = "```sh\n# no\na \\\n  b\ncat > x <<'END'\n1\n# 2\nEND\nmake setup  # no\n```\n\n```python\nx\n```\n"
    assert commands(guide) == ["a \\\n  b", "cat > x <<'END'\n1\n# 2\nEND"]
