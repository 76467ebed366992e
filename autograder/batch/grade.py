"""`autograder grade`: a unit's submissions, from grading/submitted into the gradebook; kill it, and run it again.

Each submitted file is graded by a worker, its record is put into the spool, and one writer, this process, merges it.
What the gradebook already has from the same file is left alone; what the spool has isn't graded again.
"""

import contextlib
import errno
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from autograder.batch.merge import HandedIn, Writer
from autograder.batch.spool import SPOOL, Spool
from autograder.batch.verdicts import Summary, Verdicts, Workers
from autograder.batch.workers import LocalWorkers
from autograder.course import CourseError, find_units, nbgrader_configuration
from autograder.failures import ends_the_run, sentence
from autograder.printing import shown
from autograder.pythons import HERE
from autograder.submissions.folder import submissions
from autograder.submissions.record import Record
from autograder.submissions.release import Release, read_release

NEWER = f"than this {HERE}: newer syntax fails here. Grade with the newest Python that learners have"


@dataclass(frozen=True)
class Run:
    """What a run over one unit needs, open and locked."""

    release: Release
    spool: Spool
    writer: Writer
    folders: list[tuple[str, Path]]  # (student, folder)


def grade(
    root: Path, name: str, workers: int = 1, students: Sequence[str] = (), scheduler: str = "", db_url: str = ""
) -> Summary:
    """Grade a unit's submissions, all or those of some students, and merge them into the gradebook.

    Args:
        workers: processes on this machine, unless `scheduler` names a cluster, tcp://host:8786 or tls://….
        db_url: the gradebook's, instead of nbgrader_config.py's.

    Raises:
        CourseError: nothing can be graded, or the run had to stop. What is finished is kept.
    """
    summary = Summary()
    with opened(root, name, students, db_url) as run, hired(workers, scheduler) as crew:
        run.writer.check_release(run.release)
        merged = run.writer.merged()

        def is_done(folder: HandedIn, key: str) -> bool:
            known = merged.get(folder.student)
            if known is None or known.sha256 != folder.sha256:
                return False
            summary.reused += known.key == key
            summary.earlier += known.key != key
            summary.note_faults(folder.student, known.faults)
            return True

        for folder, record in verdicts(run, crew, summary, is_done=is_done):
            merge(run, folder, record, summary)
        summary.waiting = run.writer.waiting()
    return summary


@contextlib.contextmanager
def opened(root: Path, name: str, students: Sequence[str], db_url: str) -> Iterator[Run]:
    """Everything for a run over one unit, with errors of disks and databases said in a sentence.

    Raises:
        CourseError: another run of the unit is at work, nothing is handed in, or the run had to stop.
    """
    unit = find_units(root, [name])[0]
    release = read_release(unit)
    spool = Spool(root, release)
    try:
        with spool.locked(), contextlib.closing(Writer(unit, nbgrader_configuration(root), db_url)) as writer:
            writer.set_own_dates()
            yield Run(release, spool, writer, _folders(writer, name, students))
    except OSError as error:
        raise CourseError(_why(error)) from error


@contextlib.contextmanager
def hired(number: int, scheduler: str) -> Iterator[Workers]:
    """Workers on this machine or, by a scheduler's address, on a cluster."""
    if scheduler:
        from autograder.batch.cluster import ClusterWorkers

        crew: Workers = ClusterWorkers(scheduler)
    else:
        crew = LocalWorkers(number)
    try:
        yield crew
    finally:
        crew.close()


def verdicts(run: Run, crew: Workers, summary: Summary, **hooks) -> Iterator:
    """`Verdicts` with a progress bar where there is a terminal to show it."""
    with tqdm(total=len(run.folders), unit="submission", disable=not sys.stderr.isatty()) as bar:
        yield from Verdicts(run.folders, run.release, run.spool, crew, summary, settled=bar.update, **hooks)


def merge(run: Run, folder: HandedIn, record: Record, summary: Summary) -> None:
    """Merge one record into the gradebook; what fails there costs nobody else anything.

    Raises:
        CourseError, OSError: the gradebook or the disk stands in everybody's way.
    """
    try:
        run.writer.merge(folder, record)
    except Exception as error:
        if ends_the_run(error):
            raise
        summary.failed[folder.student] = sentence(error)


def table(summary: Summary, name: str) -> str:
    """The end of a run: how many went which way, and a list of what needs a person."""
    rows = [
        ("graded", summary.graded, ""),
        ("reused", summary.reused, "already in the gradebook or the spool"),
        ("of an earlier release", summary.earlier, f"see `autograder regrade {name}`" if summary.earlier else ""),
        ("repaired", summary.repaired, "cells missing, changed, copied or moved"),
        ("of a newer Python", summary.newer, NEWER),
        ("refused", len(summary.refused), ""),
        ("failed", len(summary.failed), ""),
        ("broken tests", len(summary.faults), "the course's fault"),
        ("to grade by hand", summary.waiting, "see them in the formgrader, under Manual Grading"),
    ]
    lines = [f"{what:<22}{number:>6}  {remark if number else ''}".rstrip() for what, number, remark in rows]
    return "\n".join(lines + ([] if summary.fine else ["", needs_a_person(summary)]))


def needs_a_person(summary: Summary) -> str:
    """The list of what needs a person."""
    lines = ["Needs a person:"]
    lines += [f"  {shown(student)}: refused: {shown(why)}" for student, why in sorted(summary.refused.items())]
    lines += [f"  {shown(student)}: failed: {shown(why)}" for student, why in sorted(summary.failed.items())]
    for test, students in sorted(summary.faults.items()):
        lines.append(
            f"  {test}: broken, which is the course's fault: {len(students)} met it, {shown(min(students))} for one"
        )
    return "\n".join(lines)


def _folders(writer: Writer, name: str, students: Sequence[str]) -> list[tuple[str, Path]]:
    course = writer.course
    submitted = Path(course.root) / course.submitted_directory
    found = {path.parent.name: path for path in submissions(submitted, name)}
    if unknown := [student for student in students if student not in found]:
        raise CourseError(f"{unknown[0]} handed in nothing: there is no {submitted / unknown[0] / name}.")
    if not found:
        raise CourseError(f"Nothing is handed in: there is no {submitted / '*' / name}.")
    return sorted((student, path) for student, path in found.items() if not students or student in students)


def _why(error: OSError) -> str:
    where = f" ({error.filename})" if error.filename else ""
    end = f"What is finished is in {SPOOL}; run this again."
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk is full{where}. Make room. {end}"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"A file or folder can't be written{where}: {error.strerror}. Make it writable. {end}"
    return f"The run stopped: {error}. {end}"
