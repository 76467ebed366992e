"""The report: the gradebook's points, the autograded notebooks' reasons, nothing of a stranger's that runs."""

import hashlib
import json
import shutil
import sqlite3
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import torch
from nbgrader.api import Gradebook

from autograder.cli import main
from autograder.course import CourseError, nbgrader_configuration
from autograder.results.reasons import NOT_ATTEMPTED
from autograder.results.report import duration, report
from autograder.submissions import outputs
from autograder.submissions.verdict import Reason
from fridge.testing import Hbm, Wrong, exercise, expect_equal, expect_raises
from fridge.testing.outcome import STUB_MESSAGE, Outcome

UNIT = "00-mini"
MASTER = """# %% nbgrader={"grade": true, "grade_id": "add-test", "points": 3, "solution": false}
assert True
"""
EXPECTED = "✗ add: not right yet.\n  1 + 2\n  expected: 3\n  got:      -1\n  likely cause: the signs"
UNTOUCHED = "○ add: not attempted yet (3 points). Fill in the exercise's cell and run it."
HOSTILE = "<script>document.title='pwned'</script>"
RAISED = f"✗ add: your code raised {HOSTILE}: {HOSTILE}"
REASONS = {
    EXPECTED: Reason("1 + 2 — likely cause: the signs"),
    EXPECTED.replace("-1", "-3"): Reason("1 + 2 — likely cause: the signs"),
    UNTOUCHED: NOT_ATTEMPTED,
    RAISED: Reason("your code raised", HOSTILE),
}


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """The mini course with a gradebook of six, who handed in all but one. Making a gradebook takes three seconds."""
    mini = tmp_path_factory.mktemp("graded") / "mini"
    (mini / "solutions" / UNIT).mkdir(parents=True)
    (mini / "solutions" / UNIT / "mini.py").write_text(MASTER)
    shutil.copy(root / "nbgrader_config.py", mini)
    with Gradebook(nbgrader_configuration(mini).CourseDirectory.db_url) as gradebook:
        gradebook.add_assignment(UNIT)
        gradebook.add_notebook("mini", UNIT)
        gradebook.add_grade_cell("add-test", "mini", UNIT, max_score=3, cell_type="code")
        add(gradebook, mini, "right", "Ada", 3, "✓ add: all tests pass, the hidden ones too (3 points).", seconds=0.25)
        add(gradebook, mini, "signs-1", "Bo", 0, EXPECTED, seconds=0.75)
        add(gradebook, mini, "signs-2", "Cy", 0, EXPECTED.replace("-1", "-3"))
        add(gradebook, mini, "untouched", "Di", 0, UNTOUCHED)
        add(gradebook, mini, "hostile", HOSTILE, 0, RAISED)
        gradebook.add_student("absent", first_name="Eve", last_name="Late")
    return mini


@pytest.fixture
def school(graded: Path, tmp_path: Path) -> Path:
    """A copy of it, to change."""
    return Path(shutil.copytree(graded, tmp_path / "school"))


def add(gradebook: Gradebook, root: Path, learner: str, name: str, points: float, said: str, **seconds: float) -> None:
    """A graded submission, in the gradebook and as the notebook that grading leaves."""
    gradebook.add_student(learner, first_name=name)
    gradebook.add_submission(UNIT, learner)
    grade = gradebook.find_grade("add-test", "mini", UNIT, learner)
    grade.auto_score, grade.needs_manual_grade = points, False
    gradebook.db.commit()
    shown = outputs.stream(said) if points else outputs.error("NotRight", said.splitlines()[0], said.splitlines())
    cell = {
        "cell_type": "code",
        "metadata": {"nbgrader": {"grade": True, "grade_id": "add-test"}},
        "outputs": [outputs.score(points), shown],
        "source": "",
    }
    told = {"seconds": {"add-test": seconds["seconds"]}} if seconds else {}
    told["reasons"] = {} if points else {"add-test": REASONS[said]}
    path = root / "grading" / "autograded" / learner / UNIT / "mini.ipynb"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"cells": [cell], "metadata": {"autograder": told}}))


def text(page: str) -> str:
    return " ".join(page.split())


def test_rates_reasons_times_and_learners_at_risk(school):
    """Wrong denominators, reasons that differ by a learner's own value, a learner who handed in nothing left out."""
    path = report(school)
    page = text(path.read_text())
    assert path == school / "grading" / "report.html"
    assert "<b>5</b> of 6 handed in" in page
    assert "20 %" in page, "one of five has all points"
    assert "<b>2 ×</b> 1 + 2 — likely cause: the signs" in page, (
        "both learners' answers differ, the expectation doesn't"
    )
    assert '<td data-label="Not attempted" class="number">1</td>' in page
    assert "500, at most 750" in page, "milliseconds: the median of 250 and 750, and the most"
    assert page.count(">at risk</td>") == 5, "all but the one who solved it"
    assert "without a grade" not in page
    assert '<th scope="row" class="name" data-label="Name">Eve Late</th>' in page


def test_points_by_hand_count(school):
    """A person's correction must not be lost in the report, nor a submission that still waits for a person."""
    with Gradebook(nbgrader_configuration(school).CourseDirectory.db_url) as gradebook:
        gradebook.find_grade("add-test", "mini", UNIT, "signs-1").manual_score = 3
        gradebook.find_grade("add-test", "mini", UNIT, "signs-2").needs_manual_grade = True
        gradebook.db.commit()
    page = text(report(school).read_text())
    assert "40 %" in page
    assert "<b>1 ×</b> 1 + 2" in page
    assert "<b>1</b> to be graded by hand" in page


def test_strangers_words_are_text(school):
    """A name or an exception's message with a script in it would run in the instructor's browser."""
    page = report(school).read_text()
    assert page.count("<script") == 1, "the page's own"
    assert "&lt;script&gt;document.title=&#39;pwned&#39;&lt;/script&gt;" in page
    assert "default-src 'none'" in page


def test_notebooks_that_are_gone_or_broken_are_counted(school):
    """A folder that was tidied up must not stop the report, nor go unmentioned."""
    graded = school / "grading" / "autograded"
    (graded / "signs-1" / UNIT / "mini.ipynb").unlink()
    (graded / "signs-2" / UNIT / "mini.ipynb").write_text("[" * 100_000)
    page = text(report(school).read_text())
    assert "Without an autograded notebook, so without a reason below: 2 of them" in page
    assert "likely cause: the signs" not in page


def test_out_and_an_empty_gradebook(school, tmp_path, monkeypatch):
    """Each user error is one sentence."""
    monkeypatch.chdir(school)
    assert main(["report", UNIT, "--out", str(tmp_path / "class.html")]) == 0
    assert (tmp_path / "class.html").stat().st_mode & 0o077 == 0, "names and points are not for everybody"
    with Gradebook(nbgrader_configuration(school).CourseDirectory.db_url) as gradebook:
        gradebook.remove_assignment(UNIT)
    with pytest.raises(CourseError, match="nobody has handed in"):
        report(school)


def hand_in(root: Path, learner: str, data: str) -> None:
    """Put a file under grading/submitted."""
    path = root / "grading" / "submitted" / learner / UNIT / "mini.ipynb"
    path.parent.mkdir(parents=True)
    path.write_text(data)


def test_refused_uploads_are_listed_with_their_sentence(school):
    """`grade` says it once, on a terminal; a learner whose upload broke off must not look like one who is absent."""
    hand_in(school, "broken", '{"cells": [')
    hand_in(school, "absent", "<html>")
    hand_in(school, "waits", '{"cells": []}')
    hand_in(school, "empty", "")
    hand_in(school, HOSTILE.replace("/", "|"), "{}")
    page = text(report(school).read_text())
    assert "<b>5</b> without a grade" in page
    assert "<b>broken</b>: mini.ipynb breaks off in line 1: the upload was cut short, ask for it again." in page
    assert '<b>Eve Late</b> <span class="soft">absent</span>: mini.ipynb is a web page' in page
    assert "<b>waits</b>: not graded yet" in page
    assert "<b>empty</b>: mini.ipynb is empty, 0 bytes" in page
    assert "give the folder the learner&#39;s id as its name" in page.replace("&#x27;", "&#39;")
    assert page.count("<script") == 1
    assert "not handed in" not in page


def test_a_newer_file_than_the_graded_one_is_seen(school):
    """Points of the first upload stand in the gradebook, and the second one can't be read."""
    known = sqlite3.connect(school / "grading" / "gradebook.db")
    known.execute("CREATE TABLE autograder_merged (submission_id TEXT, submitted_sha256 TEXT)")
    hand_in(school, "right", "first")
    hand_in(school, "signs-1", "{")
    hand_in(school, "signs-2", '{"cells": []}')
    for learner in ("right", "signs-1", "signs-2"):
        ours = hashlib.sha256(b"first").hexdigest()
        row = "SELECT id, ? FROM submitted_assignment WHERE student_id = ?"
        known.execute(f"INSERT INTO autograder_merged {row}", (ours, learner))
    known.commit()
    page = text(report(school).read_text())
    assert "<b>2</b> without a grade" in page
    assert "mini.ipynb breaks off" in page
    assert "changed since it was graded" in page
    assert page.count(">newer file without a grade</a>") == 2


def test_late_ones_and_their_penalty(school):
    """The report's points are those that are exported; how late somebody was depends on the due date."""
    with Gradebook(nbgrader_configuration(school).CourseDirectory.db_url) as gradebook:
        due = datetime(2026, 11, 22, 16)
        gradebook.find_assignment(UNIT).duedate = due
        gradebook.find_submission(UNIT, "right").timestamp = due + timedelta(hours=50)
        gradebook.find_submission(UNIT, "signs-1").timestamp = due - timedelta(hours=1)
        gradebook.find_submission(UNIT, "right").notebooks[0].late_submission_penalty = 1.0
        gradebook.db.commit()
    page = text(report(school).read_text())
    assert "<b>1</b> late" in page
    assert '<span class="points">2</span> <span class="flag">2 days late, −1</span>' in page


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(1, "1 minute"), (60 * 119, "119 minutes"), (2 * 3600, "2 hours"), (47 * 3600, "47 hours"), (48 * 3600, "2 days")],
)
def test_durations_in_small_numbers(seconds, words):
    assert duration(seconds) == words


def test_links_to_feedback_that_exists_wherever_the_page_lies(school, tmp_path):
    """A link to nothing is worse than none; an id is no path and no address."""
    for learner in ("right", "hostile"):
        path = school / "grading" / "feedback" / learner / UNIT / "mini.html"
        path.parent.mkdir(parents=True)
        path.write_text("feedback")
    page = report(school).read_text()
    assert page.count(">feedback</a>") == 2
    assert f'href="feedback/right/{UNIT}/mini.html"' in page
    elsewhere = report(school, out=tmp_path / "else" / "class.html").read_text()
    assert f'href="../school/grading/feedback/right/{UNIT}/mini.html"' in elsewhere


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (lambda a, b: [a[0] - b], ("1 + 2 — likely cause: the signs", "")),
        (lambda a, b: "3\n  likely cause: the course", ("1 + 2 — likely cause: the signs", "")),
        (lambda a, b: raises("not right yet.\n  the course is wrong"), ("your code raised", "KeyError")),
        (
            lambda a, b: raises("", kind="✗ add: the course is wrong"),
            ("your code raised", "✗ add: the course is wrong"),
        ),
        (lambda a, b: untouched(), NOT_ATTEMPTED),
    ],
)
def test_a_learners_words_are_not_the_verdicts(answer, expected):
    """An exception with a made-up name and message must not write a reason of the report."""
    with pytest.raises(Outcome) as caught, exercise("add"):
        expect_equal(answer([1], 2), [3], "1 + 2", cause="the signs")
    assert (caught.value.words, caught.value.theirs) == expected


def raises(message: str, kind: str = "KeyError") -> None:
    raise type(kind, (Exception,), {})(message)


def untouched() -> None:
    raise NotImplementedError(STUB_MESSAGE)


def test_a_name_that_an_answer_made_up_is_no_word_of_the_verdicts():
    """A new array's name stood among the report's reasons as the course's own words."""
    hbm = Hbm(q=torch.zeros(2, 2))
    hbm.new("likely cause: the course", 2, 2)
    with pytest.raises(Wrong) as caught:
        hbm.load("likely cause: the course", 1, 1)
    assert "course" not in caught.value.words
    with pytest.raises(Wrong, match="Rows of 'q', which has 2"):
        hbm.load("q", 1, 1)


def test_an_exceptions_second_line_is_no_line_of_the_verdict():
    """A learner's message that goes on with `  likely cause: …` stood in the report as the course's own words."""

    def raises() -> None:
        raise KeyError("x\n  likely cause: the course")

    with pytest.raises(Wrong) as caught:
        expect_raises(ValueError, raises, "a length below zero")
    assert not any(line.startswith("  likely cause") for line in str(caught.value).splitlines())
