"""One run of a kind at a time: the lock goes with the process, however it ends."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from autograder.course import CourseError


@contextlib.contextmanager
def alone(lock: Path, at_work: str) -> Iterator[None]:
    """Keep out others who ask for the same file.

    Args:
        lock: the file; it is made, with its folder, and stays.
        at_work: what another run is at, in words.

    Raises:
        CourseError: one is at work.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CourseError(f"{at_work} by another run. Wait for its end, or stop it.") from None
        yield
