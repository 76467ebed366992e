"""Processes that keep every processor busy, each in a session of its own: an ordinary machine's worst neighbours."""

import contextlib
import os
import signal
from collections.abc import Iterator


@contextlib.contextmanager
def busy_machine(each: int = 4) -> Iterator[None]:
    """So many loops for each processor."""
    loops = [_loop() for _ in range(each * (os.cpu_count() or 1))]
    try:
        yield
    finally:
        for loop in loops:
            os.kill(loop, signal.SIGKILL)
            os.waitpid(loop, 0)


def _loop() -> int:
    child = os.fork()
    if child == 0:
        try:
            os.setsid()  # where the kernel shares out by sessions, it gets a share of its own
            while True:
                pass
        finally:
            os._exit(0)
    return child
