"""A user of the moment: whom a learner's processes run as where there are no namespaces and the grader is root.

It is nobody else's, so that all of its processes can be found and ended. Who ends them may signal them and can't be
signalled by them: it has their user as its effective one alone.
"""

import os
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from autograder.isolation import namespaces
from autograder.isolation.vanishing import entries

# Of those that systemd gives services of the moment: no account has one. The last is who ends the others.
USERS, WARDEN = range(61_184, 65_519), 65_519
END_SECONDS = 60  # in which all of a user's processes are ended; seen: 0.1 s


def choose() -> int | None:
    """A user for a learner; None where there can be none, or it could read neither Python nor the grader."""
    if sys.platform != "linux" or os.getuid() != 0:
        return None
    user = USERS[secrets.randbelow(len(USERS))]
    needed = (os, namespaces)
    can_read = _aside(lambda: (namespaces.become(user), [Path(module.__file__).read_bytes() for module in needed]))
    return user if can_read else None


def folder(user: int | None, prefix: str | None = None) -> str:
    """A new folder in the one for temporary files, that user's own."""
    made = tempfile.mkdtemp(prefix=prefix)
    if user is not None:
        os.chown(made, user, user)
    return made


def processes(user: int) -> list[Path]:
    """A user's processes that haven't ended, by their folders in /proc."""
    return [process for process in entries(Path("/proc")) if process.name.isdigit() and _is_of(process, user)]


def end_all(user: int) -> None:
    """End all of a user's processes, however many they make meanwhile.

    Raises:
        TimeoutError: some are left.
    """
    deadline = time.monotonic() + END_SECONDS
    while True:
        _aside(lambda: _end_as_warden(user))
        if not processes(user):
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"a learner's processes were there {END_SECONDS} s after they were ended")
        time.sleep(0.002)


def _end_as_warden(user: int) -> None:
    os.setgroups([])
    os.setresgid(WARDEN, WARDEN, WARDEN)
    os.setresuid(WARDEN, user, WARDEN)
    os.kill(-1, signal.SIGKILL)


def _is_of(process: Path, user: int) -> bool:
    try:
        lines = (process / "status").read_bytes().split(b"\n")
    except OSError:  # it has ended
        return False
    said = {name: rest.split() for name, _, rest in (line.partition(b":") for line in lines)}
    return said.get(b"Uid", [b""])[0] == b"%d" % user and said.get(b"State", [b"Z"])[0] not in (b"Z", b"X")


def _aside(call: Callable[[], object]) -> bool:
    # Whether a call does without an error, made by a child that ends with it.
    child = os.fork()
    if child == 0:
        code = 1
        try:
            call()
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1] == 0
