"""The warm process inside the sandbox: imports everything once, then forks a fresh learner's process for each request.

`python -m autograder.isolation.zygote FD walled [IMPORT …]`: a socket on descriptor FD, and import statements to run.
Instead of walled, bare or bare:USER: without namespaces, learners' processes as this process's user or as another.

A request is START with a socket attached, which the new process serves; END; PREPARE, which makes a process for the
next START while the grader does something else; or USAGE, which says what the one at work had of the processors. The
first three end the process before them: there is one learner's at work, or one that waits for its learner, never
both. A request carries a token that its answer repeats, so that a grader whose predecessor was killed in mid-sentence
isn't given that one's answer. The answer to START is one line of JSON: which layers the process has; empty if there
is none. Those to END and USAGE say what the process had. PREPARE has none. The warm process holds no secret; it never
had any.
"""

import array
import contextlib
import io
import json
import os
import select
import signal
import socket
import sys
import time
import traceback
from dataclasses import dataclass

from autograder.isolation import forking, imports, namespaces, seccomp, users
from autograder.isolation.account import POLL_SECONDS, Account, Memory
from autograder.isolation.namespaces import Limits
from autograder.isolation.patience import Usage

START, END, PREPARE, USAGE = b"+", b"-", b"=", b"?"
TOKEN = 8  # bytes
NOBODY = 65534
PRIVATE_FOLDERS = ("/learner", "/dev/shm", "/tmp")  # the last unless it is read-only, for the course lies there
_OUTLASTS = (signal.SIGTERM, signal.SIGCHLD)  # what `_end` sends, and what the first process's end does
END_SECONDS = 60  # in which all of a learner's processes are killed and reaped; seen: 3 s


def main() -> None:
    """Warm up, report, and serve until the grader hangs up."""
    control = socket.socket(fileno=int(sys.argv[1]))
    how, _, number = sys.argv[2].partition(":")
    bare, user = how == "bare", int(number) if number else None
    if not bare:
        _settle()
    home = users.folder(user, prefix="learners-") if bare else "/learner"
    os.environ.update(HOME=home, MPLCONFIGDIR=home, TMPDIR=home, OMP_NUM_THREADS="1")
    os.environ["PIP_NO_INDEX"] = "1"  # there is no network, and pip would look for it until the cell's time is over
    os.environ["TORCHDYNAMO_DISABLE"] = "1"  # no compiler here: torch.compile gives the function as it is
    shell = _warm_up(sys.argv[3:])
    forking.settle()
    control.sendall(b"warm\n")
    waiting, last = None, Usage()  # what the last process had when it was ended
    while True:
        action, token, descriptors = _receive(control)
        if not action:
            return
        if action == START and descriptors:
            if waiting is not None and not _runs(waiting.process):
                waiting = None
            chosen, waiting = waiting or _make(control, descriptors, shell, bare, user), None
            answer = _hand_over(chosen, descriptors[0])
            control.sendall(token + answer.strip() + b"\n")
            last = _watch(control, chosen.process, bare, user)
        elif action == PREPARE:
            waiting = waiting or _make(control, [], shell, bare, user)
        else:
            control.sendall(token + _as_line(last))


def _settle() -> None:
    if os.getuid() == 0:
        namespaces.mount_proc()
        namespaces.become(NOBODY)
    namespaces.die_with_parent()
    namespaces.hide_memory()
    os.chdir("/learner")


def _warm_up(statements: list[str]):
    import torch

    from autograder.isolation import colab
    from autograder.isolation.learner import make_shell
    from fridge import models, testing  # noqa: F401 - what the notebooks import
    from fridge.notebook import grading, scoreboard  # noqa: F401
    from fridge.workbench import measure, plots, text  # noqa: F401

    grading.begin(grading.Role.GRADED)  # `fridge.reveal` does nothing for a learner's code here

    torch.set_num_threads(1)
    shell = make_shell()
    colab.stand_in()
    imports.run(statements)
    return shell


def _receive(control: socket.socket) -> tuple[bytes, bytes, list[int]]:
    data, ancillary, _, _ = control.recvmsg(1 + TOKEN, socket.CMSG_SPACE(4))
    descriptors = array.array("i")
    for level, kind, payload in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(payload[:4])
    return data[:1], data[1:], list(descriptors)


@dataclass(frozen=True)
class _Waiting:
    """A process that is ready for a learner's connection.

    Attributes:
        process: its outermost ancestor below the warm process.
        door: takes the connection.
        report: gives its layers in JSON, or nothing if it couldn't be made.
    """

    process: int
    door: socket.socket
    report: io.FileIO


def _make(control: socket.socket, others: list[int], shell, bare: bool, user: int | None) -> _Waiting:
    door, inner_door = socket.socketpair()
    report, inner_report = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(report)
            door.close()
            for descriptor in (control.detach(), *others):  # these are the warm process's
                os.close(descriptor)
            if not bare:
                _enter_namespaces(inner_door, inner_report)
            _become_learner(inner_door, inner_report, shell, bare, user)
        except BaseException:
            traceback.print_exc()  # to the grader, who reports it; after the streams are silenced, to nobody
        finally:
            os._exit(1)
    os.close(inner_report)
    inner_door.close()
    return _Waiting(child, door, io.FileIO(report))


def _hand_over(waiting: _Waiting, connection: int) -> bytes:
    with waiting.door, contextlib.suppress(OSError):  # it has ended, and the report is empty
        socket.send_fds(waiting.door, [b"."], [connection])
    os.close(connection)
    with waiting.report:
        return waiting.report.read()


def _enter_namespaces(door: socket.socket, report: int) -> None:
    # Three generations: this one makes the namespaces, its child is their first process and reaps, the third is the
    # learner's, and only there this returns.
    namespaces.show_memory()
    namespaces.enter()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _OUTLASTS)
    first = os.fork()
    if first:
        os.close(report)
        door.close()
        namespaces.hide_memory()
        _silence_standard_streams()
        _outlast(first)
        os._exit(0)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    namespaces.die_with_parent()
    private = tuple(folder for folder in PRIVATE_FOLDERS if os.access(folder, os.W_OK))
    namespaces.mount_private(private, Limits().disk)
    os.chdir("/learner")
    learner = os.fork()
    if learner:
        os.close(report)
        door.close()
        _silence_standard_streams()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Python's handler would let the learner end this one
        while os.waitpid(-1, 0)[0] != learner:
            pass
        os._exit(0)
    socket.sethostname("fridge")


def _outlast(first: int) -> None:
    # Until all of its namespace's processes are gone, which it takes along. Who begins to listen for a signal when the
    # learner is at work already may be late: SIGTERM would end this process before them, or wake nobody.
    while signal.sigwait(_OUTLASTS) == signal.SIGCHLD:
        if not _runs(first):
            return
    os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)


def _become_learner(door: socket.socket, report: int, shell, bare: bool, user: int | None) -> None:
    layers = {"namespaces": not bare, "unprivileged": False, "limits": False, "seccomp": False}
    if bare:
        os.chdir(users.folder(user))  # not where the grader was started: a learner's files, and theirs alone
    if sys.platform == "linux":
        namespaces.give_way()
        namespaces.die_first()
        if not bare:
            namespaces.close_proc()
        if user is not None:
            namespaces.become(user)
            namespaces.show_memory()  # to itself: without it /proc/self would be root's
        namespaces.limit(Limits())
        layers["limits"] = True
        namespaces.drop_capabilities()
        if seccomp.available():
            seccomp.install(network=not bare)
            layers["seccomp"] = True
    layers["unprivileged"] = os.getuid() != 0
    _silence_standard_streams()
    os.write(report, json.dumps(layers).encode())
    os.close(report)
    with door:
        _, connections, _, _ = socket.recv_fds(door, 1, 1)
    if connections:
        _serve(connections[0], shell)


def _serve(connection: int, shell) -> None:
    from autograder.isolation.channel import Channel
    from autograder.isolation.learner import Server, work_here

    work_here()
    Server(Channel(socket.socket(fileno=connection)), shell).serve()
    os._exit(0)


def _silence_standard_streams() -> None:
    null = os.open("/dev/null", os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    os.close(null)


def _watch(control: socket.socket, child: int, bare: bool, user: int | None) -> Usage:
    # Until the learner ends, or the grader asks for something else or hangs up; memory is added up on the way.
    account, memory, last = Account(child, bare, user), Memory(user), Usage()
    is_watched = not bare or user is not None  # else nobody knows which processes are the learner's
    while _runs(child):
        readable, _, _ = select.select([control], [], [], POLL_SECONDS if memory.is_added_up else 0)
        if readable and control.recv(1, socket.MSG_PEEK) == USAGE:
            last = account.usage()
            control.sendall(_receive(control)[1] + _as_line(last))
            continue
        if readable or (is_watched and memory.look()):
            last = account.usage()
            _end(child, bare)
            break
        account.look()
    if user is not None:
        users.end_all(user)
    return last


def _end(child: int, bare: bool) -> None:
    os.kill(child, signal.SIGKILL if bare else signal.SIGTERM)
    deadline = time.monotonic() + END_SECONDS
    while _runs(child):
        if time.monotonic() > deadline:
            print(
                f"a learner's processes were there {END_SECONDS} s after they were killed", file=sys.stderr, flush=True
            )
            os._exit(1)  # and all with it: what is left of these would be counted as the next learner's
        time.sleep(0.002)


def _runs(child: int) -> bool:
    return os.waitpid(child, os.WNOHANG) == (0, 0)


def _as_line(usage: Usage) -> bytes:
    delays = [[*thread, seconds] for thread, seconds in usage.delays.items()]
    return json.dumps([usage.processor, delays]).encode() + b"\n"


if __name__ == "__main__":
    main()
