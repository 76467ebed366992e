"""The warm process inside the sandbox: imports everything once, then forks a fresh learner's process for each request.

`python -m autograder.zygote FD` with a socket on descriptor FD. A request is START with a socket attached, which the
new process serves, or END; each ends the process before it. It carries a token that its answer repeats, so that a
grader whose predecessor was killed in mid-sentence isn't given that one's answer. The answer to START is one line of
JSON: which layers the process has; empty if there is none. The warm process holds no secret; it never had any.
"""

import array
import json
import os
import select
import signal
import socket
import sys
import tempfile
import time
import traceback
from pathlib import Path

from autograder import namespaces, seccomp
from autograder.namespaces import Limits

START, END = b"+", b"-"
TOKEN = 8  # bytes
NOBODY = 65534
PRIVATE_FOLDERS = ("/learner", "/dev/shm", "/tmp")  # the last unless it is read-only, for the course lies there
POLL_SECONDS = 0.1
END_SECONDS = 5  # in which all of a learner's processes are killed and reaped
TREE_MEMORY = 3 * 2**30  # bytes resident in all of a learner's processes together


def main() -> None:
    """Warm up, report, and serve until the grader hangs up."""
    control = socket.socket(fileno=int(sys.argv[1]))
    bare = "bare" in sys.argv[2:]
    if not bare:
        _settle()
    home = tempfile.gettempdir() if bare else "/learner"
    os.environ.update(HOME=home, MPLCONFIGDIR=home, TMPDIR=home, OMP_NUM_THREADS="1")
    shell = _warm_up()
    control.sendall(b"warm\n")
    while True:
        action, token, descriptors = _receive(control)
        if not action:
            return
        if action == START and descriptors:
            child, answer = _start(control, descriptors[0], shell, bare)
            control.sendall(token + answer.strip() + b"\n")
            _watch(control, child, bare)
        else:
            control.sendall(token + b"ended\n")


def _settle() -> None:
    if os.getuid() == 0:
        namespaces.mount_proc()
        namespaces.become(NOBODY)
    namespaces.die_with_parent()
    namespaces.hide_memory()
    os.chdir("/learner")


def _warm_up():
    import torch

    from autograder.learner import make_shell
    from fridge import measure, models, plots, scoreboard, testing, text  # noqa: F401 - what the notebooks import

    torch.set_num_threads(1)
    return make_shell()


def _receive(control: socket.socket) -> tuple[bytes, bytes, list[int]]:
    data, ancillary, _, _ = control.recvmsg(1 + TOKEN, socket.CMSG_SPACE(4))
    descriptors = array.array("i")
    for level, kind, payload in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(payload[:4])
    return data[:1], data[1:], list(descriptors)


def _start(control: socket.socket, descriptor: int, shell, bare: bool) -> tuple[int, bytes]:
    ready, report = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(ready)
            os.close(control.detach())
            if not bare:
                _enter_namespaces(descriptor, report)
            _become_learner(descriptor, report, shell, bare)
        except BaseException:
            traceback.print_exc()  # to the grader, who reports it; after the streams are silenced, to nobody
        finally:
            os._exit(1)
    os.close(report)
    os.close(descriptor)
    answer = b""
    while part := os.read(ready, 4096):
        answer += part
    os.close(ready)
    return child, answer


def _enter_namespaces(descriptor: int, report: int) -> None:
    # Three generations: this one makes the namespaces, its child is their first process and reaps, the third is the
    # learner's, and only there this returns.
    namespaces.show_memory()
    namespaces.enter()
    first = os.fork()
    if first:
        os.close(report)
        os.close(descriptor)
        namespaces.hide_memory()
        _silence_standard_streams()
        signal.signal(signal.SIGTERM, lambda *_: os.kill(first, signal.SIGKILL))
        os.waitpid(first, 0)  # until all of its namespace's processes are gone
        os._exit(0)
    namespaces.die_with_parent()
    private = tuple(folder for folder in PRIVATE_FOLDERS if os.access(folder, os.W_OK))
    namespaces.mount_private(private, Limits().disk)
    os.chdir("/learner")
    learner = os.fork()
    if learner:
        os.close(report)
        os.close(descriptor)
        _silence_standard_streams()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Python's handler would let the learner end this one
        while os.waitpid(-1, 0)[0] != learner:
            pass
        os._exit(0)
    socket.sethostname("fridge")


def _become_learner(descriptor: int, report: int, shell, bare: bool) -> None:
    layers = {"namespaces": not bare, "unprivileged": os.getuid() != 0, "limits": False, "seccomp": False}
    if sys.platform == "linux":
        namespaces.die_first()
        namespaces.limit(Limits())
        layers["limits"] = True
        namespaces.drop_capabilities()
        if seccomp.available():
            seccomp.install()
            layers["seccomp"] = True
    _silence_standard_streams()
    os.write(report, json.dumps(layers).encode())
    os.close(report)
    _serve(descriptor, shell)


def _serve(descriptor: int, shell) -> None:
    from autograder.learner import Server
    from autograder.wire import Channel

    Server(Channel(socket.socket(fileno=descriptor)), shell).serve()
    os._exit(0)


def _silence_standard_streams() -> None:
    null = os.open("/dev/null", os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    os.close(null)


def _watch(control: socket.socket, child: int, bare: bool) -> None:
    # Until the learner ends, or the grader asks for something or hangs up; memory is added up on the way.
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        readable, _, _ = select.select([control], [], [], POLL_SECONDS)
        # The first sum counts what processes share for each of them. It is cheap; the second is right.
        if readable or (not bare and _memory_of_others("status") > TREE_MEMORY < _memory_of_others("smaps_rollup")):
            _end(child, bare)
            return


def _end(child: int, bare: bool) -> None:
    os.kill(child, signal.SIGKILL if bare else signal.SIGTERM)
    deadline = time.monotonic() + END_SECONDS
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.002)


def _memory_of_others(table: str) -> int:
    # Everything in this pid namespace but its first process and this one belongs to the one learner of the moment:
    # its private memory, shared memory, and the tables for both.
    own, total = {1, os.getpid()}, 0
    kinds = {"status": ("RssAnon:", "RssShmem:", "VmPTE:"), "smaps_rollup": ("Pss_Anon:", "Pss_Shmem:")}[table]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) not in own:
            try:
                lines = (entry / table).read_text().splitlines()
            except OSError:  # it has ended
                continue
            total += sum(int(line.split()[1]) for line in lines if line.startswith(kinds))
    return 1024 * total


if __name__ == "__main__":
    main()
