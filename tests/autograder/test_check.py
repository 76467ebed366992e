"""`autograder check` sees tests that are too weak or too strict, and says which."""

import json

import pytest
from conftest import ROOT, WRONG, write_sample

from autograder.authoring import runner
from autograder.authoring.check import check, table
from autograder.cli import main
from autograder.course import CourseError, find_units

UNITS = [unit.name for unit in find_units(ROOT)]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(runner, "SECONDS_PER_CELL", 2)


def test_tests_that_tell_right_from_wrong_are_fine(mini):
    """Counts, scores and the for-real cell left out; a loop without end is a wrong answer like any other."""
    report = check(mini)
    assert report.fine, table(report)
    assert report.as_json() == {
        "units": {
            "00-mini": {
                "master": {"score": 3, "max": 3},
                "handout": {"score": 0, "crashed": False},
                "exercises": {
                    "add": {"points": 3, "wrong_caught": 5, "wrong_total": 5, "right_accepted": 2, "right_total": 2}
                },
                "findings": [],
            }
        }
    }


def test_a_wrong_answer_that_keeps_its_points_is_a_finding(mini):
    write_sample(mini, "wrong", "not_wrong_at_all", "return b + a", loses="add-test")
    report = check(mini)
    assert report.units["00-mini"].exercises["add"].wrong_caught == 5
    assert "wrong/not_wrong_at_all: keeps its points in add-test: too weak a test" in table(report)


def test_a_right_answer_that_is_refused_is_a_finding(mini):
    write_sample(mini, "right", "refused", "return str(a + b)")
    report = check(mini)
    assert report.units["00-mini"].exercises["add"].right_accepted == 2
    assert "right/refused: loses add-test, too strict a test" in table(report)


def test_a_master_that_loses_points_is_a_finding(mini):
    master = find_units(mini)[0].master
    master.write_text(master.read_text().replace("return a + b ", "return a + b + 1 "))
    assert "master: loses add-test" in table(check(mini))


def test_a_handout_that_crashes_is_a_finding(mini):
    """A handout must report "not attempted" in each test cell, not an error of its own."""
    master = find_units(mini)[0].master
    master.write_text(master.read_text().replace("def add(a, b):", "def add(a):"))
    report = check(mini)
    assert report.units["00-mini"].handout_crashed
    assert "handout: add-test is not reported as not attempted" in table(report)


def test_too_few_samples_are_a_finding(mini):
    (mini / "tests/submissions/00-mini/wrong/subtracts.py").unlink()
    assert "add: has 4 wrong and 2 right samples, needs 5 and 2" in table(check(mini))


@pytest.mark.parametrize(
    ("old", "new"),
    [("loses: add-test", ""), ("loses: add-test", "loses: mul-test"), ('"add"', '"mul"'), ("A way to add.", "")],
)
def test_a_sample_out_of_form_is_a_sentence_with_its_name(mini, old, new):
    sample = mini / "tests/submissions/00-mini/wrong/subtracts.py"
    sample.write_text(sample.read_text().replace(old, new))
    with pytest.raises(CourseError, match=r"subtracts\.py"):
        check(mini)


MISTAKE = """
[adds_twice]
about = "Adds b twice."
loses = ["add-test"]
changes = [["a + b", "a + b + b"]]
"""


def test_a_mistake_is_a_change_of_an_answer(mini):
    """Of the master's, or of the right sample that is named; one that changes nothing keeps its points."""
    mistakes = mini / "tests/submissions/00-mini/wrong/add.toml"
    of_another = (
        '[sums_one]\nabout = "Forgets b."\nloses = ["add-test"]\nof = "by_sum"\nchanges = [["((a, b))", "((a,))"]]'
    )
    mistakes.write_text(MISTAKE + of_another)
    report = check(mini)
    assert report.fine, table(report)
    assert report.units["00-mini"].exercises["add"].wrong_caught == len(WRONG) + 2
    mistakes.write_text(MISTAKE.replace("a + b + b", "b + a"))
    assert "wrong/add/adds_twice: keeps its points in add-test: too weak a test" in table(check(mini))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"a + b"', '"a - b"', "stands 0 times"),
        ('"a + b"', '"a"', "times in the answer, and must once"),
        ("about", "abuot", "needs about, loses, changes"),
        ('loses = ["add-test"]', "loses = []", "needs a docstring (or about)"),
        ('["add-test"]', '["mul-test"]', "has no mul-test"),
        ('[["a + b", "a + b + b"]]', '["a + b"]', "needs about, loses, changes"),
        ("[adds_twice]", "[adds_twice", "needs about, loses, changes"),
        ("changes", 'of = "by_magic"\nchanges', "by_magic"),
    ],
)
def test_a_mistake_out_of_form_is_a_sentence_with_its_file(mini, old, new, says):
    (mini / "tests/submissions/00-mini/wrong/add.toml").write_text(MISTAKE.replace(old, new))
    with pytest.raises(CourseError, match=r"add\.toml") as raised:
        check(mini)
    assert says in str(raised.value)


def test_exit_codes_and_json(mini, monkeypatch, capsys):
    """0 fine, 1 something is off, 2 no such unit: what CI scripts hang on."""
    monkeypatch.chdir(mini)
    assert main(["check", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["units"]["00-mini"]["master"] == {"score": 3, "max": 3}
    (mini / "tests/submissions/00-mini/wrong/subtracts.py").unlink()
    assert main(["check", "00-mini"]) == 1
    assert main(["check", "nonsense"]) == 2


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("unit", UNITS)
def test_the_course_s_own_tests_tell_right_from_wrong(unit, root, monkeypatch):
    """Master 100 %, handout 0, every wrong sample caught, every right one accepted."""
    monkeypatch.setattr(runner, "SECONDS_PER_CELL", 60)
    report = check(root, [unit])
    assert report.fine, table(report)
