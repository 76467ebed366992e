"""A worker: a process with one warm sandbox that grades submitted files one after the other.

`python -m autograder.submissions.worker [SEAT]` reads tasks from its standard input and writes answers to its standard
output; SEAT is its number among those on this machine.
A task is a file's bytes with the release to grade it against; the worker opens no gradebook, no sources, no other
submission.
"""

import os
import sys
import tempfile
import time
from collections.abc import Collection
from pathlib import Path

import msgpack
import nbformat

from autograder.isolation import imports
from autograder.isolation.children import ChildFailed, in_child
from autograder.isolation.patience import WIDE
from autograder.isolation.sandbox import Sandbox, SandboxError, open_sandbox
from autograder.submissions.pipe import FAILED, RECORD, STOP, receive, send
from autograder.submissions.record import Record
from autograder.submissions.release import Release, grader_version

SLACK_SECONDS = 60  # for the child's own work, beyond the notebook's time


def pack_task(release: Release, key: str, submission: bytes) -> bytes:
    """What a worker needs for one submitted file."""
    return msgpack.packb(
        {"release": release.as_json(), "key": key, "grader": grader_version(), "submission": submission}
    )


def main() -> None:
    """Answer tasks until the standard input ends."""
    tasks, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what anything prints goes to the log
    desk = Desk(*map(int, sys.argv[1:]))
    while (task := receive(tasks)) is not None:
        answer = desk.answer(task)
        send(answers, answer)
        if not answer.startswith(RECORD):
            break  # the next task gets a new worker
    desk.close()


class Desk:
    """The worker's sandbox and paper, kept warm for a release.

    Args:
        seat, may_lack: `open_sandbox`'s.
    """

    def __init__(self, seat: int | None = None, may_lack: Collection[str] = ()) -> None:
        self._seat, self._may_lack = seat, may_lack
        self._release: Release | None = None
        self._sandbox: Sandbox | None = None

    def answer(self, task: bytes) -> bytes:
        """Grade one file. The answer's first byte says whether the rest is a record or a reason."""
        message = msgpack.unpackb(task)
        if message["grader"] != grader_version():
            return STOP + b"a worker has another version of the grader: install the same one there, and start it again."
        try:
            self._prepare(Release(**message["release"]))
            return RECORD + self._grade(message["key"], message["submission"]).pack()
        except SandboxError as error:
            return STOP + str(error).encode()
        except ChildFailed as error:
            return FAILED + f"grading it broke: {str(error).strip().splitlines()[-1]}".encode()

    def close(self) -> None:
        """End the sandbox."""
        if self._sandbox is not None:
            self._sandbox.close()

    def _prepare(self, release: Release) -> None:
        if self._release != release:
            self._release, self._paper = release, release.paper
            self._editions = [nbformat.reads(text, as_version=4) for text in (release.handout, *release.translations)]
        wanted = self._paper.handout_imports
        if self._sandbox is not None and self._sandbox.alive() and self._sandbox.imports >= set(wanted):
            return
        self.close()
        from autograder.submissions import rebuild, split, submission  # noqa: F401 - before the forks

        self._sandbox, _ = open_sandbox(self._may_lack, wanted, lambda: imports.run(self._paper.imports), self._seat)

    def _grade(self, key: str, submission: bytes) -> Record:
        from autograder.submissions import split

        started = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{self._release.notebook}.ipynb"
            path.write_bytes(submission)
            try:
                # Reading it, too, is done by a process that may break.
                found = in_child(lambda: self._read_and_run(path), WIDE * split.SECONDS_PER_NOTEBOOK + SLACK_SECONDS)
            finally:
                self._sandbox.prepare()
        return Record(key=key, unit=self._release.unit, seconds=time.monotonic() - started, **found)

    def _read_and_run(self, path: Path) -> dict:
        from autograder.submissions import split
        from autograder.submissions.rebuild import rebuild
        from autograder.submissions.submission import Refused, read_notebook

        try:
            rebuilt = rebuild(read_notebook(path), *self._editions)
        except Refused as refused:
            return {"refused": str(refused).replace(str(path), path.name)}
        notebook = rebuilt.notebook
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        graded = split.grade(notebook, self._paper, self._sandbox, self._release.words)
        for index, outputs in graded.outputs.items():
            notebook.cells[index].outputs = [nbformat.from_dict(output) for output in outputs]
        notebook.metadata["autograder"] = graded.for_notebook()  # as SplitExecute's
        return {
            "scores": {name: verdict.points for name, verdict in graded.verdicts.items()},
            "messages": {name: verdict.message for name, verdict in graded.verdicts.items()},
            "faults": [name for name, verdict in graded.verdicts.items() if verdict.courses_fault],
            "repairs": list(rebuilt.repairs),
            "layers": graded.layers,
            "starved": graded.starved,
            "notebook": notebook,
        }


if __name__ == "__main__":
    main()
