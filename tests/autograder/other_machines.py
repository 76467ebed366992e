"""Grading beyond one machine and one file: processes of Dask, and a PostgreSQL server of our own."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from grading_class import UNIT

from autograder.course import nbgrader_configuration

SECONDS = 180  # of waiting, and then something hangs; on a crowded machine a sandbox alone takes 60


def wait_for(condition, what: str, seconds: float = SECONDS):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not come within {seconds} s"
        time.sleep(0.05)
    return found


@contextlib.contextmanager
def running(folder: Path, *options: str | Path) -> Iterator[tuple[Path, list[subprocess.Popen]]]:
    """A scheduler's file and two workers, each in an empty folder of its own."""
    pytest.importorskip("distributed")
    where = folder / "scheduler.json"
    common = ["--no-dashboard", "--scheduler-file", where, *options]
    started: list[subprocess.Popen] = []

    def start(*command: str) -> None:
        own = folder / f"process-{len(started)}"
        own.mkdir()
        with (folder / "cluster.log").open("a") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", *command, *common],
                cwd=own,
                env=os.environ | {"DASK_TEMPORARY_DIRECTORY": str(own)},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        started.append(process)

    try:
        start("scheduler", "--host", "127.0.0.1", "--port", "0")
        wait_for(where.exists, "the scheduler")
        for _ in range(2):
            start("worker", "--host", "127.0.0.1", "--nthreads", "1", "--nworkers", "1")
        yield where, started[1:]
    finally:
        for process in started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def cluster(tmp_path) -> Iterator[tuple[str, list[subprocess.Popen]]]:
    """A scheduler's address and its two workers."""
    with running(tmp_path) as (where, workers):
        from distributed import Client

        with Client(scheduler_file=str(where), set_as_default=False) as client:
            client.wait_for_workers(2, timeout=SECONDS)
            address = client.scheduler.address
        yield address, workers


@pytest.fixture
def postgres() -> Iterator[str]:
    """The URL of an empty database in a server of our own, on a private socket."""
    pytest.importorskip("psycopg")
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        pytest.skip("no PostgreSQL server on this machine: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    other: dict = {}
    if os.getuid() == 0:  # PostgreSQL refuses to run as root
        account = pwd.getpwnam("postgres")
        os.chown(folder, account.pw_uid, account.pw_gid)
        other = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    data = folder / "data"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": "/", **other}
    subprocess.run(
        [f"{programs[-1]}/initdb", "-D", data, "-U", "grader", "-A", "trust", "-E", "UTF8", "--no-sync"],
        check=True,
        **quiet,
    )
    command = [f"{programs[-1]}/postgres", "-D", data, "-k", folder, "-c", "listen_addresses="]
    server = subprocess.Popen(command, **quiet)
    try:
        url = f"postgresql://grader@/postgres?host={folder}"
        wait_for(lambda: server.poll() is not None or _answers(folder), "the server")
        yield url
    finally:
        server.send_signal(signal.SIGINT)  # its fast way to stop
        server.wait(SECONDS)
        shutil.rmtree(folder)


def generate(course: Path, url: str, unit: str = UNIT) -> None:
    from nbgrader.apps import NbGraderAPI

    config = nbgrader_configuration(course)
    config.CourseDirectory.db_url = with_driver(url)
    result = NbGraderAPI(config=config).generate_assignment(unit, force=True, create=True)
    assert result["success"], result["log"]


def with_driver(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://")


def _answers(folder: Path) -> bool:
    import psycopg

    try:
        psycopg.connect(f"postgresql://grader@/postgres?host={folder}").close()
    except psycopg.OperationalError:
        return False
    return True
