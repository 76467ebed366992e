"""One learner's folder between two honest ones, through every command: no other row changes, and it is said why."""

import csv
import re
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from grading_class import BODIES, UNIT, hand_in, made, points, rows, skip_without_sandbox
from hostile_folders import HOSTILE, NOTEBOOK, make_folder
from other_machines import generate, postgres, with_driver  # noqa: F401 - a fixture

from autograder.batch import feedback as feedback_module
from autograder.batch.feedback import feedback
from autograder.batch.grade import grade
from autograder.cli import main
from autograder.collecting.collect import collect
from autograder.course import find_units, nbgrader_configuration
from autograder.printing import shown
from autograder.results.class_results import gather
from autograder.results.report import report
from autograder.results.similar import similar
from autograder.results.similar_page import write_page
from autograder.submissions.folder import handed_in
from autograder.submissions.submission import Refused, find_notebook, read_notebook

pytestmark = pytest.mark.timeout(600)
HONEST = dict(zip(("h0", "h3", "h6", "h9"), BODIES.values(), strict=True))
OWN = ("autograder_merged",)


@pytest.fixture(scope="module")
def schools(tmp_path_factory) -> tuple[Path, Path, dict[str, str]]:
    """A course with honest learners alone, the same with hostile ones among them, and those: name -> id."""
    skip_without_sandbox()
    calm, wild = (made(tmp_path_factory.mktemp(name) / "mini") for name in ("calm", "wild"))
    for school in (calm, wild):
        shutil.rmtree(school / "grading/submitted")
        for learner, body in HONEST.items():
            hand_in(find_units(school, [UNIT])[0], learner, body, "2026-11-01 12:00:00 UTC")
        shutil.copy(school / "grading/gradebook.db", school / "empty.db")
    notebook = wild / f"grading/submitted/h0/{UNIT}/mini.ipynb"
    between = list(HONEST)[:-1]
    learners = {}
    for number, entry in enumerate(HOSTILE):
        at = between[number * len(between) // len(HOSTILE)]
        learners[entry.name] = make_folder(wild / "grading/submitted", entry, at, UNIT, notebook)
    (wild / "grading/autograded").mkdir()
    grade(calm, UNIT)
    return calm, wild, learners


@pytest.fixture
def wild(schools) -> Path:
    """The course with the hostile ones, not graded yet."""
    school = schools[1]
    for name in ("autograded", "feedback", "spool"):
        shutil.rmtree(school / "grading" / name, ignore_errors=True)
    shutil.copy(school / "empty.db", school / "grading/gradebook.db")
    return school


def db(school: Path) -> str:
    return nbgrader_configuration(school).CourseDirectory.db_url


def of_honest_ones(db_url: str, learners: dict[str, str]) -> dict[str, list[tuple]]:
    """The gradebook's rows, without those of hostile learners."""
    theirs = tuple(learners.values())
    return {
        table: [row for row in found if not any(str(value).startswith(theirs) for _, value in row)]
        for table, found in rows(db_url, without=OWN).items()
    }


def check_sentences(said: dict[str, str], learners: dict[str, str]) -> None:
    """Each hostile folder that can't be graded is refused in its own sentence, and no other learner."""
    assert set(said) == {learners[entry.name] for entry in HOSTILE if not entry.counts}
    for entry in HOSTILE:
        if not entry.counts:
            assert entry.says in said[learners[entry.name]], entry.name


def check_terminal(text: str) -> None:
    """Nothing that steers a terminal, and no line that a learner made."""
    assert all(letter == "\n" or unicodedata.category(letter) not in ("Cc", "Cf", "Cs") for letter in text)
    assert not [line for line in text.splitlines() if line.strip().startswith("zed: ")]


@pytest.mark.parametrize("entry", HOSTILE, ids=lambda entry: entry.name)
def test_a_folder_is_read_or_refused_in_a_sentence(entry, tmp_path):
    """Guards against a folder that is waited for, followed, read whole, or that raises what nobody expects."""
    honest = tmp_path / NOTEBOOK
    honest.write_text("{}")
    learner = make_folder(tmp_path / "submitted", entry, "h0", UNIT, honest)
    folder = tmp_path / "submitted" / learner / UNIT
    if entry.counts:
        assert handed_in(folder, "mini") == b"{}"
        return
    with pytest.raises(Refused, match=re.escape(entry.says)) as refused:
        read_as_grading_does(folder)
    assert "\n" not in str(refused.value)


def read_as_grading_does(folder: Path) -> None:
    handed_in(folder, "mini")
    read_notebook(find_notebook(folder, NOTEBOOK))


def test_grade_and_regrade(schools, wild, capsys, monkeypatch):
    """`autograder grade` and `regrade`, and what they print."""
    calm, _, learners = schools
    summary = grade(wild, UNIT)
    check_sentences(summary.refused, learners)
    assert not summary.failed
    assert of_honest_ones(db(wild), learners) == rows(db(calm), without=OWN)
    monkeypatch.chdir(wild)
    for command in (["grade", UNIT], ["regrade", UNIT], ["regrade", UNIT, "--write"]):
        assert main(command) == 1
        said = capsys.readouterr().out
        check_terminal(said)
        for entry in HOSTILE:
            line = [
                line for line in said.splitlines() if line.startswith(f"  {shown(learners[entry.name])}: refused: ")
            ]
            assert len(line) == (0 if entry.counts else 1), entry.name
    assert of_honest_ones(db(wild), learners) == rows(db(calm), without=OWN)


def test_on_postgresql(schools, wild, postgres):  # noqa: F811
    """An id that a column of PostgreSQL has no room for, or that no text in it can be: SQLite takes both."""
    calm, _, learners = schools
    generate(wild, postgres)
    summary = grade(wild, UNIT, db_url=postgres)
    check_sentences(summary.refused, learners)
    assert not summary.failed
    assert of_honest_ones(with_driver(postgres), learners) == rows(db(calm), without=OWN)


def test_what_stands_in_the_way_of_a_result_costs_its_learner_alone(schools, wild, monkeypatch):
    """A folder in the place of a graded notebook, a file in the place of a folder, steps that raise anything."""
    calm, _, _ = schools
    (wild / f"grading/autograded/h3/{UNIT}/mini.ipynb").mkdir(parents=True)
    (wild / "grading/autograded/h6").touch()
    summary = grade(wild, UNIT)
    assert set(summary.failed) == {"h3", "h6"}
    assert points(db(wild))["h0"] == points(db(calm))["h0"]
    assert points(db(wild))["h9"] == points(db(calm))["h9"]


def test_nbgraders_own_command(schools, wild, caplog, capfd):
    """`nbgrader autograde`, as it is typed and as formgrader's button calls it."""
    from nbgrader.apps import NbGraderAPI

    calm, _, learners = schools
    api = NbGraderAPI(config=nbgrader_configuration(wild))
    done = api.autograde(UNIT, "*")
    assert not done["success"], "the command's end says that some aren't graded"
    for entry in HOSTILE:
        if not entry.counts:
            said = [line for line in done["log"].splitlines() if f"{shown(learners[entry.name])} is not graded" in line]
            assert len(said) == 1, entry.name
    check_terminal(done["log"])
    assert {who: points(db(wild))[who] for who in HONEST} == points(db(calm))
    left = {path.name for path in (wild / "grading/autograded").rglob("*") if not path.is_dir()}
    assert left == {"mini.ipynb", "timestamp.txt"}, "nothing else stays beside a graded notebook"
    # formgrader's list of submissions
    assert len(api.get_submissions(UNIT)) >= len(HONEST)


def test_collect(schools, tmp_path, capsys, monkeypatch):
    """`autograder collect` of a folder that was unpacked by hand."""
    _, full, learners = schools
    school = tmp_path / "mini"
    shutil.copytree(schools[0], school)
    shutil.rmtree(school / "grading/submitted")
    summary = collect(school, UNIT, [full / "grading/submitted"])
    taken = {path.name for path in (school / "grading/submitted").iterdir()}
    assert set(HONEST) <= taken
    for learner in HONEST:
        one = f"grading/submitted/{learner}/{UNIT}/mini.ipynb"
        assert (school / one).read_bytes() == (full / one).read_bytes()
    by_id = {entry.name for entry in HOSTILE if entry.says == "the id"}
    assert not taken & {learners[name] for name in by_id}
    assert not summary.fine
    left = [path for path in (school / "grading/submitted").rglob("*") if not path.is_dir()]
    assert {path.name for path in left} <= {"mini.ipynb", "timestamp.txt"}
    assert all(path.is_file() and path.stat().st_size < 10**6 for path in left)
    monkeypatch.chdir(school)
    main(["collect", UNIT, str(full / "grading/submitted")])
    check_terminal(capsys.readouterr().out)


def test_report_similar_export_and_feedback(schools, wild, capsys, monkeypatch):
    """What reads a class that is graded."""
    calm, _, learners = schools
    grade(wild, UNIT)
    units, _ = gather(wild)
    said = {who: one.not_graded for who, one in units[0].submissions.items() if one.not_graded}
    check_sentences(said, {name: shown(learner) for name, learner in learners.items()})
    ours, theirs = ({one.id: one.share for one in gather(school)[1]} for school in (wild, calm))
    assert {who: ours[who] for who in HONEST} == theirs
    assert report(wild, [UNIT], None).stat().st_size > 1000

    found = similar(wild, UNIT)
    assert set(HONEST) <= set(found.learners)
    assert len(found.unread) == sum(not entry.counts for entry in HOSTILE)
    assert write_page(wild, found, {}, 20).is_file()
    assert found.as_json()

    monkeypatch.chdir(wild)
    for command in (["report", UNIT], ["similar", UNIT], ["feedback", UNIT, "--workers", "2"]):
        assert main(command) == 0
        check_terminal(capsys.readouterr().out)
    pages = {path.parent.parent.name for path in (wild / "grading/feedback").rglob("*.html")}
    assert set(HONEST) <= pages

    for school in (wild, calm):
        export(school)
    ours, theirs = (list(csv.DictReader((school / "grades.csv").open(encoding="utf-8-sig"))) for school in (wild, calm))
    assert [row for row in ours if row["student_id"] in HONEST] == theirs


def export(school: Path) -> None:
    command = [Path(sys.executable).with_name("nbgrader"), "export", "--to", "grades.csv"]
    subprocess.run(command, cwd=school, check=True, capture_output=True)


def test_a_page_that_ends_its_maker_costs_nobody_else_a_page(schools, monkeypatch, tmp_path):
    """Guards against a page whose process is killed, for its memory say, and a class without feedback."""
    school = tmp_path / "mini"
    shutil.copytree(schools[0], school)
    (school / "grading/autograded/h3" / UNIT / "mini.ipynb").chmod(0o644)
    config = school / "nbgrader_config.py"
    ends = "import os\nfrom autograder.batch import feedback\n"
    ends += "make = feedback._Converter.make\n"
    ends += "feedback._Converter.make = lambda self, who: os._exit(1) if who == 'h3' else make(self, who)\n"
    config.write_text(config.read_text() + ends)
    found = feedback(school, UNIT, workers=2)
    assert set(found.failed) == {"h3"}
    assert found.made == len(HONEST) - 1
    assert feedback_module.table(found).count("h3: ") == 1
