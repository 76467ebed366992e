"""Linux namespaces, mounts and limits for one learner's process, by the C library's own calls.

Used inside the outer sandbox: each learner gets user, mount, pid, network, ipc and uts namespaces of its own, so that
it sees no other learner and leaves nothing behind. Everything it started dies with its first process.
"""

import contextlib
import ctypes
import os
import resource
from dataclasses import dataclass
from pathlib import Path

_NEWNS, _NEWUTS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REMOUNT, _MS_BIND = 1, 2, 4, 8, 32, 4096
_MS_REC, _MS_PRIVATE = 16384, 1 << 18
_PR_SET_DUMPABLE, _PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS, _PR_CAPBSET_DROP = 4, 1, 38, 24
_SIGKILL = 9
_CAPABILITY_VERSION_3 = 0x20080522

MAX_FILES = 20_000  # in each private tmpfs
NICENESS = 2  # two thirds of an ordinary share: more, and honest answers would be late on a busy machine

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Limits:
    """What one learner's process and all that it starts may use."""

    memory: int = 2 * 2**30  # bytes of private memory beyond the warm process's own
    processes: int = 64  # and threads, which the kernel counts alike
    files: int = 256  # open at once
    file_size: int = 64 * 2**20
    disk: int = 128 * 2**20  # of each private tmpfs
    cpu_seconds: int = 600
    signals: int = 256  # queued, and timers: of these all processes of a user, in whatever namespace, have one pool


def enter() -> None:
    """Move this process into new namespaces; its next child is the first process of the new pid namespace.

    Raises:
        OSError: the kernel or its administrator doesn't allow it.
    """
    user, group = os.getuid(), os.getgid()
    _check(_libc.unshare(_NEWUSER | _NEWNS | _NEWPID | _NEWNET | _NEWIPC | _NEWUTS), "unshare")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


def mount_private(folders: tuple[str, ...], size: int) -> None:
    """Give the folders an empty tmpfs each, and this pid namespace its own /proc."""
    _check(_libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None), "mount /")
    for folder in folders:
        options = f"size={size},nr_inodes={MAX_FILES},mode=0700".encode()  # an empty file takes memory too
        _check(_libc.mount(b"tmpfs", folder.encode(), b"tmpfs", _MS_NOSUID | _MS_NODEV, options), f"mount {folder}")
    # A shared mapping of /dev/zero is memory that no limit counts.
    _check(_libc.mount(b"/dev/null", b"/dev/zero", None, _MS_BIND, None), "mount /dev/zero")
    if Path("/dev/pts").is_dir():
        # Pseudo-terminals come from one pool for the whole machine: who has them all leaves none for anybody else.
        flags, options = _MS_RDONLY | _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, b"size=4k,nr_inodes=1,mode=0555"
        _check(_libc.mount(b"tmpfs", b"/dev/pts", b"tmpfs", flags, options), "mount /dev/pts")
    mount_proc()


def mount_proc() -> None:
    """Mount /proc for this process's pid namespace."""
    _check(_libc.mount(b"proc", b"/proc", b"proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, None), "mount /proc")


def close_proc() -> None:
    """Make /proc read-only, for good: who wrote there could undo `die_first`, and the kernel would end another."""
    flags = _MS_REMOUNT | _MS_BIND | _MS_RDONLY | _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
    _check(_libc.mount(b"none", b"/proc", None, flags, None), "remount /proc")


def limit_memory(more: int) -> None:
    """Let this process take so many bytes beyond those that it has. Does nothing where the kernel has no such limit."""
    if Path("/proc/self/status").exists():
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        limit = _memory("VmData") + more
        resource.setrlimit(resource.RLIMIT_DATA, (limit if most == resource.RLIM_INFINITY else min(limit, most), most))


def limit(limits: Limits) -> None:
    """Set this process's limits, for good."""
    values = {
        resource.RLIMIT_AS: _memory("VmSize") + 4 * limits.memory,  # threads reserve far more than they use
        resource.RLIMIT_DATA: _memory("VmData") + limits.memory,
        resource.RLIMIT_NPROC: limits.processes,
        resource.RLIMIT_NOFILE: limits.files,
        resource.RLIMIT_FSIZE: limits.file_size,
        resource.RLIMIT_CPU: limits.cpu_seconds,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
        resource.RLIMIT_SIGPENDING: limits.signals,
    }
    for kind, value in values.items():
        _, most = resource.getrlimit(kind)
        value = value if most == resource.RLIM_INFINITY else min(value, most)
        resource.setrlimit(kind, (value, value))


def drop_capabilities() -> None:
    """Give up every capability that a new user namespace brings, and the way back to them."""

    class Header(ctypes.Structure):
        _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))

    for capability in range(64):
        _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)  # fails beyond the kernel's last one
    header = Header(_CAPABILITY_VERSION_3, 0)
    _check(_libc.capset(ctypes.byref(header), (ctypes.c_uint32 * 6)()), "capset")
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")


def die_with_parent() -> None:
    """Be killed when the process that started this one ends."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0), "pdeathsig")


def give_way() -> None:
    """Leave the processor to the grader, where both want it: this process, and all that it starts."""
    os.nice(NICENESS)
    with contextlib.suppress(OSError):  # many kernels share the processor among sessions first: have one, and be nice
        os.setsid()
        Path("/proc/self/autogroup").write_text(str(NICENESS))


def die_first() -> None:
    """Be the first whom the kernel ends when memory runs out."""
    Path("/proc/self/oom_score_adj").write_text("1000")


def hide_memory() -> None:
    """Let no process of the same user read or trace this one."""
    _check(_libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0), "dumpable")


def show_memory() -> None:
    """Undo `hide_memory` in a child, which couldn't write its own /proc/self otherwise."""
    _check(_libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0), "dumpable")


def become(user: int) -> None:
    """Change from root to an unprivileged user and group."""
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def _memory(kind: str) -> int:
    # VmData is what RLIMIT_DATA counts, private writable memory, reserved or used; VmSize is what RLIMIT_AS counts.
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{kind}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {kind}")


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
