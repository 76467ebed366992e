"""From students' folders to verdict records: what the spool has is taken from there, all else is asked of workers."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from autograder.batch.merge import HandedIn
from autograder.batch.spool import Spool
from autograder.course import CourseError
from autograder.pythons import newer_than_here
from autograder.submissions.folder import handed_in
from autograder.submissions.pipe import RECORD, STOP
from autograder.submissions.record import BadRecord, Record, unpack
from autograder.submissions.release import Release
from autograder.submissions.submission import Refused
from autograder.submissions.verdict import STARVED
from autograder.submissions.worker import pack_task

TRIES = 2  # the second one by another worker, or alone
AHEAD = 2  # tasks for each worker: one at work, one that waits


class Workers(Protocol):
    """What answers tasks: processes on this machine, or a cluster."""

    width: int  # how many

    def submit(self, task: bytes) -> Future[bytes]:
        """Have a task answered."""

    def close(self) -> None:
        """End them; what they are at is lost."""


@dataclass
class Summary:
    """How a run went.

    Attributes:
        graded: students whose files were graded in this run.
        reused: students whose verdicts the gradebook or the spool had.
        earlier: students whose grades come from an earlier release or grader, and stay.
        repaired: students whose notebooks were mended.
        newer: students whose notebooks say that a newer Python wrote them than this one.
        refused: student -> why the submission can't be graded.
        failed: student -> why grading it failed.
        faults: test cell that is broken -> students who met it.
        waiting: students in the gradebook whose unit has something that a person has to grade.
    """

    graded: int = 0
    reused: int = 0
    earlier: int = 0
    repaired: int = 0
    newer: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    faults: dict[str, list[str]] = field(default_factory=dict)
    waiting: int = 0

    @property
    def fine(self) -> bool:
        """Nothing needs a person."""
        return not (self.refused or self.failed or self.faults)

    def note_faults(self, student: str, tests: Sequence[str]) -> None:
        """Remember that a student met tests that are broken."""
        for test in tests:
            self.faults.setdefault(test, []).append(student)


@dataclass
class _Job:
    key: str
    task: bytes
    students: list[HandedIn]  # several if they handed in the same bytes
    tries: int = 0


class Verdicts:
    """Iterate over it once: (student's folder, record) for every submission that could be graded, in no fixed order.

    Args:
        folders: (student, folder of the unit).
        is_done: says of a folder and its key that nothing is to be done.
        settled: called once for each student.
    """

    def __init__(
        self,
        folders: Sequence[tuple[str, Path]],
        release: Release,
        spool: Spool,
        workers: Workers,
        summary: Summary,
        *,
        is_done: Callable[[HandedIn, str], bool] = lambda folder, key: False,
        settled: Callable[[], object] = lambda: None,
    ):
        self._folders, self._release, self._spool, self._workers = folders, release, spool, workers
        self._summary, self._is_done, self._settled = summary, is_done, settled
        self._at_work: dict[Future[bytes], _Job] = {}
        self._alone: list[_Job] = []  # what had no time beside others

    def __iter__(self) -> Iterator[tuple[HandedIn, Record]]:
        for student, folder in self._folders:
            try:
                data = handed_in(folder, self._release.notebook)
            except Refused as refused:
                self._refuse(student, str(refused))
                continue
            yield from self._settle(HandedIn(student, folder, hashlib.sha256(data).hexdigest()), data)
            while len(self._at_work) >= AHEAD * self._workers.width:
                yield from self._answers()
        while self._at_work or self._alone:
            if not self._at_work:
                self._ask(self._alone.pop())
            yield from self._answers()

    def _settle(self, folder: HandedIn, data: bytes) -> Iterator[tuple[HandedIn, Record]]:
        key = self._release.key(data)
        if self._is_done(folder, key):
            self._settled()
        elif record := self._spool.get(key):
            self._summary.reused += not record.refused
            yield from self._deliver([folder], record)
        elif job := next((job for job in [*self._at_work.values(), *self._alone] if job.key == key), None):
            job.students.append(folder)
        else:
            self._ask(_Job(key, pack_task(self._release, key, data), [folder]))

    def _ask(self, job: _Job) -> None:
        job.tries += 1
        self._at_work[self._workers.submit(job.task)] = job

    def _answers(self) -> Iterator[tuple[HandedIn, Record]]:
        done, _ = wait(self._at_work, return_when=FIRST_COMPLETED)
        for future in done:
            job = self._at_work.pop(future)
            try:
                answer = future.result()
                if answer.startswith(STOP):
                    raise CourseError(answer[1:].decode(errors="replace"))
                if not answer.startswith(RECORD):
                    raise BadRecord(answer[1:].decode(errors="replace"))
                record = unpack(answer[1:], job.key, self._release)
            except CourseError:
                raise
            except CancelledError as error:
                raise CourseError("The cluster is gone. Start it and run this again; nothing is lost.") from error
            except Exception as error:  # a dead worker here, or whatever a cluster says
                self._failed(job, str(error) or type(error).__name__)
                continue
            if record.starved:
                self._failed(job, STARVED, alone=True)
                continue
            self._spool.put(job.key, answer[1:])
            self._summary.graded += len(job.students) * (not record.refused)
            yield from self._deliver(job.students, record)

    def _deliver(self, folders: list[HandedIn], record: Record) -> Iterator[tuple[HandedIn, Record]]:
        for folder in folders:
            if record.refused:
                self._refuse(folder.student, record.refused)
                continue
            self._summary.repaired += bool(record.repairs)
            self._summary.newer += bool(newer_than_here(record.notebook["metadata"]))
            self._summary.note_faults(folder.student, record.faults)
            yield folder, record
            self._settled()

    def _failed(self, job: _Job, why: str, alone: bool = False) -> None:
        if job.tries < TRIES:
            if alone:
                self._alone.append(job)
            else:
                self._ask(job)
            return
        for folder in job.students:
            self._summary.failed[folder.student] = f"tried {TRIES} times: {why}"
            self._settled()

    def _refuse(self, student: str, why: str) -> None:
        self._summary.refused[student] = why
        self._settled()
