"""The warm process inside the sandbox: imports everything once, then forks a fresh learner's process for each request.

`python -m autograder.zygote FD` with a socket on descriptor FD. A request is one byte with a socket attached: the new
process serves that one. The answer is one line of JSON: which layers the process has, or what went wrong. It holds no
secret; it never had any.
"""

import array
import json
import os
import select
import signal
import socket
import sys
import traceback
from pathlib import Path

from autograder import namespaces, seccomp
from autograder.namespaces import Limits

NOBODY = 65534
PRIVATE_FOLDERS = ("/tmp", "/dev/shm", "/learner")
POLL_SECONDS = 0.1
TREE_MEMORY = 3 * 2**30  # bytes resident in all of a learner's processes together


def main() -> None:
    """Warm up, report, and serve until the grader hangs up."""
    control = socket.socket(fileno=int(sys.argv[1]))
    bare = "bare" in sys.argv[2:]
    if not bare:
        _settle()
    os.environ.update(HOME="/tmp", MPLCONFIGDIR="/tmp", OMP_NUM_THREADS="1")
    shell = _warm_up()
    control.sendall(b"warm\n")
    while True:
        request, descriptors = _receive(control)
        if not request:
            return
        if descriptors:  # a request to end a learner that has ended already carries none
            _start(control, descriptors[0], shell, bare)


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


def _receive(control: socket.socket) -> tuple[bytes, list[int]]:
    data, ancillary, _, _ = control.recvmsg(1, socket.CMSG_SPACE(4))
    descriptors = array.array("i")
    for level, kind, payload in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(payload[:4])
    return data, list(descriptors)


def _start(control: socket.socket, descriptor: int, shell, bare: bool) -> None:
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
    control.sendall(answer.strip() + b"\n")
    _watch(control, child)


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
        os.waitpid(first, 0)
        os._exit(0)
    namespaces.die_with_parent()
    namespaces.mount_private(PRIVATE_FOLDERS, Limits().disk)
    os.chdir("/learner")
    learner = os.fork()
    if learner:
        os.close(report)
        os.close(descriptor)
        while os.waitpid(-1, 0)[0] != learner:
            pass
        os._exit(0)
    socket.sethostname("fridge")


def _become_learner(descriptor: int, report: int, shell, bare: bool) -> None:
    layers = {"namespaces": not bare, "unprivileged": os.getuid() != 0, "limits": False, "seccomp": False}
    if sys.platform == "linux":
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


def _watch(control: socket.socket, child: int) -> None:
    # Until the learner ends, or the grader asks for the end (any byte) or hangs up; memory is added up on the way.
    while True:
        pid, _ = os.waitpid(child, os.WNOHANG)
        if pid:
            control.sendall(b"ended\n")
            return
        readable, _, _ = select.select([control], [], [], POLL_SECONDS)
        if readable or _resident_below(child) > TREE_MEMORY:
            hung_up = bool(readable) and not control.recv(1)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            if hung_up:
                os._exit(0)
            control.sendall(b"ended\n")
            return


def _resident_below(child: int) -> int:
    # Everything in this pid namespace but its first process, this one, belongs to the one learner of the moment.
    own = {1, os.getpid()}
    pages = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) not in own:
            try:
                pages += int((entry / "statm").read_text().split()[1]) - int((entry / "statm").read_text().split()[2])
            except (OSError, IndexError):
                continue
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
