"""200 generated submissions of a real unit: killed at random moments, graded by a cluster that loses a worker, and on a
machine that others keep busy.

    .venv/bin/pytest -m long tests/autograder/test_grade_long.py      some ten minutes

CLASS=50 makes it shorter; KEEP=folder keeps the classes there, so that a later test doesn't grade them anew.
"""

import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from busy_machine import busy_machine
from grading_class import OWN, rows
from mini_course import ROOT
from other_machines import cluster, generate, postgres, wait_for, with_driver  # noqa: F401 - fixtures

from autograder.batch.grade import grade
from autograder.batch.spool import SPOOL
from autograder.course import find_units
from autograder.trials.generated import UNIT, answers_of, command, generated_class, submit

CLASS = int(os.environ.get("CLASS", "200"))
KILLS = 5
BURN = """
import os
for _ in range(40):
    if os.fork() == 0:
        os.setsid()
        while True: pass
"""

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]


def db(course: Path) -> str:
    return f"sqlite:///{course}/grading/gradebook.db"


def scores(course: Path) -> list[tuple[str, str]]:
    """(test of a student's, points) of the whole class."""
    found = [dict(row) for row in rows(db(course))["grade"]]
    return sorted((f"{row['notebook_id']} {row['cell_id']}", row["auto_score"]) for row in found)


def records(course: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (course / SPOOL / UNIT).glob("*.gz")}


@pytest.fixture(scope="module")
def handed_in(tmp_path_factory) -> Path:
    folder = Path(os.environ.get("KEEP") or tmp_path_factory.mktemp("long")) / f"class-{CLASS}"
    if not folder.exists():
        generated_class(ROOT, folder, CLASS)
    return folder


@pytest.fixture(scope="module")
def undisturbed(handed_in) -> Path:
    """The class, graded in one go."""
    course = handed_in.with_name(handed_in.name + "-undisturbed")
    if not course.exists():
        shutil.copytree(handed_in, course)
    assert grade(course, UNIT, workers=2).fine
    return course


def test_killed_at_random_moments_and_resumed(handed_in, undisturbed, tmp_path):
    """Guards against work lost or repeated, and against a gradebook that shows that there was a kill."""
    course = Path(shutil.copytree(handed_in, tmp_path / "course"))
    moments = sorted(random.sample(range(1, CLASS), KILLS))
    finished: dict[str, int] = {}
    for moment in moments:
        run = subprocess.Popen(command(2), cwd=course, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: len(records(course)) >= moment or run.poll() is not None, f"record {moment}", 600)  # noqa: B023
        time.sleep(random.random() / 4)
        run.send_signal(signal.SIGKILL)
        run.wait()
        now = records(course)
        assert finished.items() <= now.items(), "finished work was done again"
        finished = now
    done = subprocess.run(command(2), cwd=course, capture_output=True, text=True, check=False)
    print(f"\nkilled behind {moments} of {CLASS} records\n{done.stdout}")
    assert done.returncode == 0, done.stderr
    assert finished.items() <= records(course).items()
    assert rows(db(course)) == rows(db(undisturbed))


def test_by_a_cluster_that_loses_a_worker(handed_in, undisturbed, tmp_path, cluster):  # noqa: F811
    """Guards against a cluster's gradebook that differs."""
    course = Path(shutil.copytree(handed_in, tmp_path / "course"))
    address, (doomed, _) = cluster
    run = subprocess.Popen([*command(2), "--scheduler", address], cwd=course)
    wait_for(lambda: len(records(course)) >= CLASS // 4 or run.poll() is not None, "a quarter", 600)
    os.killpg(doomed.pid, signal.SIGKILL)
    print(f"\na worker was killed behind {len(records(course))} of {CLASS} records")
    assert run.wait() == 0
    assert rows(db(course)) == rows(db(undisturbed))


def test_a_busy_machine_gives_the_same_rows(handed_in, undisturbed, tmp_path):
    """Guards against grades that depend on who else uses the machine."""
    course = Path(shutil.copytree(handed_in, tmp_path / "course"))
    with busy_machine():
        assert grade(course, UNIT, workers=2).fine
    assert rows(db(course)) == rows(db(undisturbed))


def test_learners_who_burn_cost_the_others_nothing(handed_in, undisturbed, tmp_path):
    """Guards against points that a learner's neighbours lose by forty processes, each of a session of its own."""
    course = Path(shutil.copytree(handed_in, tmp_path / "course"))
    unit = find_units(course, [UNIT])[0]
    right = answers_of(find_units(ROOT, [UNIT])[0], [])
    for number in range(0, CLASS, 4):
        burning = {name: f"{source}\n# {number}\n{BURN}" for name, source in right.items()}
        submit(unit, f"student-{number:03}-burns", burning)
    grade(course, UNIT, workers=2)
    honest = [row for row in scores(course) if "burns" not in row[0]]
    assert len(honest) > CLASS
    assert honest == scores(undisturbed)


def test_postgresql_gives_the_same_grades(handed_in, undisturbed, tmp_path, postgres):  # noqa: F811
    """Guards against grades that depend on the database."""
    course = Path(shutil.copytree(handed_in, tmp_path / "course"))
    shutil.copytree(undisturbed / SPOOL, course / SPOOL)  # graded once; merged by another writer
    generate(course, postgres, UNIT)
    summary = grade(course, UNIT, workers=2, db_url=postgres)
    print(f"\n{summary.graded + summary.reused} of {CLASS} in PostgreSQL")
    assert rows(with_driver(postgres), without=OWN) == rows(db(undisturbed), without=OWN)
