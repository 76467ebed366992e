"""`autograder regrade`: what a changed release or grader would change, for all who were graded, before it is written.

A dry run puts the new verdicts into the spool and leaves the gradebook alone; writing them then takes no grading.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from autograder.batch.grade import hired, merge, opened, verdicts
from autograder.batch.merge import HandedIn
from autograder.batch.verdicts import Summary
from autograder.notebooks import TEST_SUFFIX
from autograder.printing import shown
from autograder.submissions.record import Record


@dataclass
class Change:
    """One student's points: test cell -> (before, after), for those that change. None: not graded before."""

    student: str
    tests: dict[str, tuple[float | None, float]]
    before: float
    after: float


@dataclass
class Regraded:
    """What a regrading found.

    Attributes:
        changes: of students whose points change.
        same: students whose points stay.
        written: whether the gradebook has it now.
    """

    summary: Summary = field(default_factory=Summary)
    changes: list[Change] = field(default_factory=list)
    same: int = 0
    written: bool = False


def regrade(
    root: Path,
    name: str,
    write: bool = False,
    workers: int = 1,
    students: Sequence[str] = (),
    scheduler: str = "",
    db_url: str = "",
) -> Regraded:
    """Grade all submissions of a unit with the release and grader of today; tell what changes; with `write`, merge.

    Raises:
        CourseError: as `grade`; with `write`, if the gradebook doesn't know the release.
    """
    result = Regraded(written=write)
    with opened(root, name, students, db_url) as run, hired(workers, scheduler) as crew:
        if write:
            run.writer.check_release(run.release)
        before = run.writer.scores()
        merged = run.writer.merged()
        for folder, record in verdicts(run, crew, result.summary):
            _compare(folder, record, before.get(folder.student, {}), result)
            known = merged.get(folder.student)
            if not write or (known and known.key == record.key):
                continue
            merge(run, folder, record, result.summary)
    result.changes.sort(key=lambda change: change.student)
    return result


def table(result: Regraded, name: str) -> str:
    """Who changes and by how much."""
    changes = result.changes
    lines = []
    if changes:
        width = max(len("student"), *(len(shown(change.student)) for change in changes))
        lines.append(f"{'student':<{width}}{'before':>8}{'after':>8}{'change':>8}  tests")
        for change in changes:
            tests = ", ".join(
                f"{test.removesuffix(TEST_SUFFIX)} {'-' if old is None else f'{old:g}'} → {new:g}"
                for test, (old, new) in change.tests.items()
            )
            difference = change.after - change.before
            student = f"{shown(change.student):<{width}}"
            lines.append(f"{student}{change.before:>8g}{change.after:>8g}{difference:>+8g}  {tests}")
    up = sum(change.after > change.before for change in changes)
    down = sum(change.after < change.before for change in changes)
    lines.append(f"{len(changes)} change ({up} up, {down} down), {result.same} stay as they are.")
    if result.written:
        lines.append("The gradebook has them now.")
    elif changes:
        lines.append(f"Nothing is written. To write it: autograder regrade {name} --write")
    return "\n".join(lines)


def _compare(folder: HandedIn, record: Record, before: dict[str, float | None], result: Regraded) -> None:
    tests = {name: (before.get(name), new) for name, new in record.scores.items() if before.get(name) != new}
    if not tests:
        result.same += 1
        return
    old = sum(points or 0.0 for points in before.values())
    result.changes.append(Change(folder.student, tests, old, sum(record.scores.values())))
