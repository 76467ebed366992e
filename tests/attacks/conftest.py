"""One warm sandbox for all attacks, short time limits, and a table at the end."""

import contextlib
import json
import os
import resource
import secrets as random_secrets
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import attacks as attacks_
import nbformat
import pytest
from nbformat import NotebookNode
from three_exercises import opened

from autograder.course import find_units
from autograder.isolation.children import in_child
from autograder.isolation.patience import WIDE, had
from autograder.isolation.sandbox import Sandbox
from autograder.notebooks import read_master
from autograder.submissions import split
from autograder.submissions.paper import Paper
from autograder.submissions.verdict import Graded

ROOT = Path(__file__).resolve().parents[2]
SECONDS_PER_CELL, SECONDS_PER_TEST, SECONDS_PER_NOTEBOOK = 4, 6, 60
PORT, ABSTRACT_NAME = 47631, "\0autograder-attack"  # what the network attack knocks at
STOCK = Path(__file__).with_name("stock.json")


@dataclass
class Grading:
    """What grading one submission gave, and cost the grader."""

    graded: Graded
    peak_mb: float  # the grading process's largest resident memory
    seconds: float  # that it took, without what a busy machine took from it


@pytest.fixture(scope="session")
def master() -> NotebookNode:
    return read_master(find_units(ROOT, [attacks_.UNIT])[0])


@pytest.fixture(scope="session")
def release() -> NotebookNode:
    return nbformat.read(find_units(ROOT, [attacks_.UNIT])[0].release, as_version=4)


@pytest.fixture(scope="session")
def secret() -> Iterator[str]:
    """Something in the grader's environment and on its disk that no learner may see."""
    word = f"canary{random_secrets.token_hex(8)}"
    os.environ["GRADER_SECRET"] = word
    yield word
    del os.environ["GRADER_SECRET"]


@pytest.fixture(scope="session")
def sandbox(secret: str) -> Iterator[Sandbox]:
    warm = opened()
    yield warm
    warm.close()


@pytest.fixture(scope="session")
def listeners() -> Iterator[None]:
    """Servers on this machine, which a learner's process must not reach."""
    tcp = socket.socket()
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    abstract = socket.socket(socket.AF_UNIX)
    with tcp, abstract:
        for server, address in ((tcp, ("127.0.0.1", PORT)), (abstract, ABSTRACT_NAME)):
            with contextlib.suppress(OSError):  # another worker of this run listens there
                server.bind(address)
                server.listen()
        yield


@pytest.fixture(scope="session")
def grade(master: NotebookNode, sandbox: Sandbox) -> Callable[[NotebookNode], Grading]:
    """Grade a notebook as nbgrader's step does, with short time limits."""
    paper = Paper(master)

    def job(notebook: NotebookNode) -> dict:
        split.SECONDS_PER_CELL, split.SECONDS_PER_TEST = SECONDS_PER_CELL, SECONDS_PER_TEST
        split.SECONDS_PER_NOTEBOOK = SECONDS_PER_NOTEBOOK
        began, before = time.monotonic(), sandbox.usage()
        graded = split.grade(notebook, paper, sandbox).as_json()
        seconds = had(time.monotonic() - began, sandbox.usage() - before)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return {"graded": graded, "peak": peak, "seconds": seconds}

    def grade_(notebook: NotebookNode) -> Grading:
        try:
            answer = in_child(lambda: job(notebook), WIDE * SECONDS_PER_NOTEBOOK)
        finally:
            sandbox.prepare()
        return Grading(Graded.from_json(answer["graded"]), answer["peak"], answer["seconds"])

    return grade_


def pytest_terminal_summary(terminalreporter) -> None:
    """The table: attack, points gained, leaks, memory, and what stock nbgrader gave for the same."""
    stock = json.loads(STOCK.read_text())["attacks"] if STOCK.exists() else {}
    rows = []
    for report in terminalreporter.stats.get("passed", []) + terminalreporter.stats.get("failed", []):
        row = dict(report.user_properties)
        if report.when == "call" and "attack" in row:
            rows.append(row | {"stock": stock.get(row["attack"], {}).get("words", "")})
    if not rows:
        return
    rows.sort(key=lambda row: row["attack"])
    artefact = ROOT / "tests" / "artifacts" / "attacks.json"
    artefact.parent.mkdir(exist_ok=True)
    artefact.write_text(json.dumps(rows, indent=1))
    terminalreporter.section("attacks")
    terminalreporter.line(f"{'attack':<32}{'gained':>7}{'leaks':>6}{'s':>6}{'MB':>6}  stock nbgrader (a record)")
    for row in rows:
        terminalreporter.line(
            f"{row['attack']:<32}{row['gained']:>7g}{row['leaks']:>6}{row['seconds']:>6.1f}{row['peak_mb']:>6.0f}"
            f"  {row['stock']}"
        )
    gained, leaks = sum(row["gained"] for row in rows), sum(row["leaks"] for row in rows)
    terminalreporter.line(f"{len(rows)} attacks: {gained:g} points gained, {leaks} leaks. Kept in {artefact}")
