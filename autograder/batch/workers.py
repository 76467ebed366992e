"""Workers on this machine, as an executor: processes of `autograder.submissions.worker`, each asked by a thread.

A worker that dies is replaced. What it was asked is answered with `WorkerDied`; asking again is the caller's business.
"""

import contextlib
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from select import select

from autograder.submissions.pipe import RECORD, receive, send

ANSWER_SECONDS = 4500  # the worker itself gives up earlier: after its warm-up and a notebook's widest time
LOOK_SECONDS = 0.5  # how often a silent worker is looked at: its children may keep its pipe open after its death
POLITE_SECONDS = 5


class WorkerDied(Exception):
    """The worker ended, or was ended, without an answer. The message says how."""


class Worker:
    """One worker process; started when it is first asked, and again after its end.

    Args:
        seat: its number among those on this machine, where that is known.
    """

    def __init__(self, seat: int | None = None) -> None:
        self._seat = seat
        self._process: subprocess.Popen | None = None
        self._asked = False

    def ask(self, task: bytes) -> bytes:
        """Its answer to a task.

        Raises:
            WorkerDied: there is none.
        """
        if self._process is None or self._process.poll() is not None:
            self._start()
        self._asked = True
        try:
            send(self._process.stdin, task)
            answer = self._answer()
        except BrokenPipeError:
            answer = None
        finally:
            self._asked = False
        if answer is None:
            raise WorkerDied(self._end())
        if not answer.startswith(RECORD):
            self._end()  # it is on its way out
        return answer

    def close(self) -> None:
        """End the process; what it is at is lost."""
        if (process := self._process) is None:
            return
        if self._asked:
            process.kill()  # the thread that asked notices
        else:
            self._end()

    def _start(self) -> None:
        self.close()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
        command = [sys.executable, "-m", "autograder.submissions.worker"]
        command += [] if self._seat is None else [str(self._seat)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            start_new_session=True,  # Ctrl-C is for the writer
        )

    def _answer(self) -> bytes | None:
        deadline = time.monotonic() + ANSWER_SECONDS
        while time.monotonic() < deadline:
            if select([self._process.stdout], [], [], LOOK_SECONDS)[0]:
                return receive(self._process.stdout)
            if self._process.poll() is not None:
                return None
        return None

    def _end(self) -> str:
        process, self._process = self._process, None
        with contextlib.suppress(OSError):
            process.stdin.close()
        try:
            code = process.wait(POLITE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            code = None
        process.stdout.close()
        self._log.seek(0)
        words = self._log.read()[-2000:].decode(errors="replace").strip().splitlines()
        self._log.close()
        how = "was ended, for it gave no answer" if code is None else f"died (exit status {code})"
        return f"its worker {how}" + (f": {words[-1]}" if words else "")


class LocalWorkers:
    """As many worker processes on this machine; `submit` as of an executor."""

    def __init__(self, number: int):
        self.width = number
        self._own = threading.local()
        self._lock = threading.Lock()
        self._workers: list[Worker] = []
        self._threads = ThreadPoolExecutor(number)

    def submit(self, task: bytes) -> Future[bytes]:
        """Have a task answered by the next worker that is free."""
        return self._threads.submit(self._ask, task)

    def close(self) -> None:
        """End all, now; what they are at is lost."""
        for one in list(self._workers):
            one.close()
        self._threads.shutdown(cancel_futures=True)

    def _ask(self, task: bytes) -> bytes:
        if not hasattr(self._own, "worker"):
            with self._lock:
                self._own.worker = Worker(len(self._workers))
                self._workers.append(self._own.worker)
        return self._own.worker.ask(task)
