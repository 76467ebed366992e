"""Grading beyond one machine and one file: real processes of Dask, and a real PostgreSQL server."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from grading_class import BODIES, OWN, UNIT, hand_in, made, points, rows, skip_without_sandbox
from other_machines import SECONDS, cluster, generate, postgres, running, wait_for, with_driver  # noqa: F401 - fixtures

from autograder.batch.grade import grade
from autograder.course import CourseError, find_units


@pytest.fixture(scope="module")
def class_made(tmp_path_factory) -> Path:
    """A class that is handed in, made once."""
    skip_without_sandbox()
    return made(tmp_path_factory.mktemp("made") / "mini")


@pytest.fixture
def course(class_made, tmp_path) -> Path:
    return Path(shutil.copytree(class_made, tmp_path / "mini"))


def test_a_cluster_grades_and_a_lost_worker_costs_only_a_retry(course, cluster):  # noqa: F811
    """Guards against a submission lost with its worker, and workers that open what lies in the course."""
    address, (doomed, other) = cluster
    unit = find_units(course, [UNIT])[0]
    for number in range(8):
        hand_in(unit, f"student-{number}", f"import time; time.sleep(0.4)  # {number}\n    return a + b")
    summaries = []
    run = threading.Thread(target=lambda: summaries.append(grade(course, UNIT, scheduler=address)))
    run.start()
    wait_for(lambda: len(list((course / "grading/spool" / UNIT).glob("*.gz"))) >= 2, "the first records")
    assert not [name for name in _open_files(other.pid) if name.startswith(str(course))]
    os.killpg(doomed.pid, signal.SIGKILL)
    run.join(2 * SECONDS)
    (summary,) = summaries
    assert summary.fine
    assert summary.graded == 8 + len(BODIES)
    expected = {f"student-{number}": 3.0 for number in range(8)}
    assert points(f"sqlite:///{course}/grading/gradebook.db") == expected | {
        "ada": 3.0,
        "bea": 0.0,
        "cem": 0.0,
        "dia": 3.0,
    }


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate that signs itself, so that it is its own authority, and its key."""
    if not (openssl := shutil.which("openssl")):
        pytest.skip("no openssl on this machine")
    files = folder / f"{name}.pem", folder / f"{name}-key.pem"
    made = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", f"/CN={name}"]
    subprocess.run([*made, "-out", files[0], "-keyout", files[1]], check=True, capture_output=True)
    return files


def test_over_tls_a_stranger_is_refused(course, tmp_path):
    """Guards against README's options and variables for TLS that don't work, and a cluster that answers anybody."""
    (node, key), (stranger, strangers_key) = certificate(tmp_path, "node"), certificate(tmp_path, "stranger")
    tls = ["--protocol", "tls", "--tls-ca-file", node, "--tls-cert", node, "--tls-key", key]
    with running(tmp_path, *tls) as (where, _):
        address = json.loads(where.read_text())["address"]
        assert address.startswith("tls://")

        def graded_with(own: Path, own_key: Path) -> subprocess.CompletedProcess:
            variables = {"CA_FILE": node, "CLIENT__CERT": own, "CLIENT__KEY": own_key}
            environment = {f"DASK_DISTRIBUTED__COMM__TLS__{name}": str(file) for name, file in variables.items()}
            environment["DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT"] = "5s"
            command = [sys.executable, "-m", "autograder.cli", "grade", UNIT, "--scheduler", address]
            return subprocess.run(
                command, cwd=course, env=os.environ | environment, capture_output=True, text=True, timeout=SECONDS
            )

        refused = graded_with(stranger, strangers_key)
        assert refused.returncode != 0
        assert "No scheduler answers" in refused.stderr, refused.stderr[-2000:]
        fine = wait_for(lambda: (done := graded_with(node, key)).returncode == 0 and done, "a worker over TLS")
    assert f"graded                {len(BODIES):>6}" in fine.stdout


def test_no_scheduler_is_said_in_a_sentence(course, monkeypatch):
    """Guards against a traceback, or waiting for ever, where nobody answers."""
    pytest.importorskip("distributed")
    monkeypatch.setattr("autograder.batch.cluster.CONNECT_SECONDS", 1)
    with pytest.raises(CourseError, match="No scheduler answers at tcp://127"):
        grade(course, UNIT, scheduler="tcp://127.0.0.1:9")


def test_postgresql_gets_the_same_rows_as_sqlite(course, postgres, monkeypatch):  # noqa: F811
    """Guards against types, transactions and locks that only SQLite forgives."""
    import psycopg

    from autograder.batch import gradebook

    sqlite = f"sqlite:///{course}/grading/gradebook.db"
    grade(course, UNIT)
    with pytest.raises(CourseError, match="no release of 00-mini"):
        grade(course, UNIT, db_url=postgres)
    generate(course, postgres)
    with monkeypatch.context() as patch, psycopg.connect(postgres) as other:
        patch.setattr(gradebook, "BUSY_SECONDS", 1)
        other.execute("LOCK TABLE student IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(CourseError, match="locked by another program"):
            grade(course, UNIT, db_url=postgres)
    for _ in range(2):
        assert grade(course, UNIT, db_url=postgres).reused == len(BODIES)  # merged from the spool, then left alone
        assert rows(with_driver(postgres), without=OWN) == rows(sqlite, without=OWN)
    hand_in(find_units(course, [UNIT])[0], "ada", BODIES["bea"])
    grade(course, UNIT, students=["ada"], db_url=postgres)
    assert points(with_driver(postgres))["ada"] == 0.0


def _open_files(pid: int) -> set[str]:
    import psutil

    process = psutil.Process(pid)
    names: set[str] = set()
    for one in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.Error):
            names |= {file.path for file in one.open_files()} | {one.cwd()}
    return names
