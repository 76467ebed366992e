"""Whose failure it is: one submission's, which costs nobody else anything, or the disk's or the database's.

What learners hand in can make any line fail in any way. A run goes on behind it; only what stands in everybody's way
ends it.
"""

import errno

from autograder.course import CourseError
from autograder.printing import shown

_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


def ends_the_run(error: Exception) -> bool:
    """Whether the others would fail by the same: a full, broken or read-only disk, a gradebook that can't be used."""
    if isinstance(error, OSError):  # without a name it is no path that somebody handed in
        return error.errno in _OF_THE_DISK or error.filename is None
    return isinstance(error, CourseError)


def sentence(error: Exception) -> str:
    """What happened, in one line."""
    if isinstance(error, OSError) and error.strerror:
        return f"{shown(error.filename2 or error.filename)} can't be used ({error.strerror}): have a look at it."
    return shown(error) if str(error) else type(error).__name__
