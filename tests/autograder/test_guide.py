"""Every command of autograder/GUIDE.md, in its order, from a git clone: with a small class, and with one of 120."""

import csv
from pathlib import Path

import hostile_folders
import pytest
from grading_class import rows, skip_without_sandbox
from guide import EXCEPTED, MINUTES, clone, commands, run, table, with_a_class
from hostile_folders import HOSTILE, make_folder
from mini_course import ROOT

from autograder.course import Unit
from autograder.printing import shown

GUIDE = (ROOT / "autograder/GUIDE.md").read_text(encoding="utf-8")
HONEST = 40
MAKES_NO_ROW = tuple(f"autograder {name}" for name in ("check", "publish", "report", "similar", "feedback"))
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


@pytest.mark.long
@pytest.mark.timeout(60 * 60 * 3)
def test_the_guide_with_hostile_folders_between_honest_ones(tmp_path, monkeypatch):
    """A class of 40, each hostile folder between two of them, and the same class without: equal rows for the honest.

    pytest -m long -s shows each step's time and memory.
    """
    skip_without_sandbox()
    monkeypatch.setattr(hostile_folders, "MANY", 100_000)
    found = {}
    for name in ("calm", "wild"):
        (tmp_path / name).mkdir()
        teacher = clone(tmp_path / name)
        unit, people = with_a_class(teacher, HONEST)
        honest = [one.id for one in people if one.work is not None]
        steps, hostile = [], {}
        for command in commands(GUIDE):
            if command.startswith("mv grading"):
                break
            if name == "calm" and command.startswith(MAKES_NO_ROW):
                continue
            if name == "wild" and command.startswith("autograder grade") and not hostile:
                hostile = between(teacher / "grading/submitted", honest, unit)
            steps.append(run(teacher, command))
            needs_a_person = bool(hostile) and command.startswith(("autograder grade", "autograder regrade"))
            assert steps[-1].code == needs_a_person, f"$ {command}\n{steps[-1].said}"
            assert "Traceback" not in steps[-1].said, f"$ {command}\n{steps[-1].said}"
            for entry in HOSTILE if needs_a_person else ():
                line = f"  {shown(hostile[entry.name])}: refused: "
                assert sum(one.startswith(line) for one in steps[-1].said.splitlines()) == (not entry.counts), entry
        print(table(steps))
        slowest, largest = max(steps, key=lambda step: step.wall), max(steps, key=lambda step: step.megabytes)
        print(f"{name}: slowest {slowest.command}: {slowest.wall:.0f} s", end=", ")
        print(f"largest {largest.command}: {largest.megabytes:.0f} MB")
        theirs = tuple(hostile.values())
        found[name] = {
            table: [line for line in lines if not any(str(value).startswith(theirs) for _, value in line)]
            for table, lines in rows(f"sqlite:///{teacher}/grading/gradebook.db").items()
        }
        for file in ("grades.csv", "canvas.csv", "moodle.csv"):
            found[name][file] = of_the_class(teacher / "grading" / file, {one.id for one in people})
    assert found["wild"] == found["calm"]


def between(submitted: Path, honest: list[str], unit: Unit) -> dict[str, str]:
    """Every hostile folder behind one of the honest learners', and one honest behind the last; name -> id."""
    places = honest[:-1]
    return {
        entry.name: make_folder(
            submitted,
            entry,
            places[number % len(places)],
            unit.name,
            submitted / honest[0] / unit.name / f"{unit.notebook}.ipynb",
        )
        for number, entry in enumerate(HOSTILE)
    }


def of_the_class(file: Path, ids: set[str]) -> list[dict[str, str]]:
    """An export's lines of those who are enrolled."""
    with file.open(encoding="utf-8-sig", newline="") as lines:
        return [row for row in csv.DictReader(lines) if ids & set(row.values())]


def test_what_is_excepted_stands_in_the_guide():
    """An exception for a command that is gone would hide a new one."""
    text = "\n".join(GUIDE.splitlines())
    assert [start for start in EXCEPTED if start not in text] == []


def test_commands_are_found_whole():
    """Here documents and lines that go on belong to their command; a comment is none."""
    guide = "```sh\n# no\na \\\n  b\ncat > x <<'END'\n1\n# 2\nEND\nmake setup  # no\n```\n\n```python\nx\n```\n"
    assert commands(guide) == ["a \\\n  b", "cat > x <<'END'\n1\n# 2\nEND"]
