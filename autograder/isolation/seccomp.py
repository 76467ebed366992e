"""A seccomp filter for the learner's process: system calls that no exercise needs and that reach far into the kernel.

A list of what is refused (EPERM), not of what is allowed: torch, OpenMP and Python use too many calls for that. The
namespaces and limits are the walls; this takes away tools for climbing them. x86-64 and arm64 Linux.
"""

import ctypes
import errno
import platform
import struct

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2
_LOAD, _AND, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _JUMP_ANY_BIT, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER, _ARCHITECTURE, _ARGUMENT_0, _ARGUMENT_3 = 0, 4, 16, 40  # offsets in struct seccomp_data
_CLONE_NEWUSER_AND_OTHERS = 0x7E020000  # CLONE_NEWNS, CGROUP, UTS, IPC, USER, PID, NET
_X32 = 0x40000000
# Memory that is shared and belongs to no file: no limit counts it, and no process need show it as its own.
_SHARED_AND_ANONYMOUS = 0x21
# AF_UNIX, AF_INET, AF_INET6, AF_NETLINK. A network namespace doesn't contain all the others: AF_VSOCK speaks with the
# host of a virtual machine.
_SOCKETS = (1, 2, 10, 16)

# architecture: (audit number, {what is looked at more closely}, refused calls)
_TABLES = {
    "x86_64": (
        0xC000003E,
        {"clone": 56, "clone3": 435, "mmap": 9, "socket": 41},
        {
            "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312, "pidfd_getfd": 438,
            "keyctl": 250, "add_key": 248, "request_key": 249, "bpf": 321, "userfaultfd": 323, "perf_event_open": 298,
            "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "unshare": 272, "setns": 308,
            "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161, "move_mount": 429, "open_tree": 428,
            "fsopen": 430, "fsconfig": 431, "fsmount": 432, "mount_setattr": 442, "name_to_handle_at": 303,
            "open_by_handle_at": 304, "init_module": 175, "finit_module": 313, "delete_module": 176,
            "kexec_load": 246, "kexec_file_load": 320, "reboot": 169, "swapon": 167, "swapoff": 168, "acct": 163,
            "syslog": 103, "quotactl": 179, "personality": 135, "mknod": 133, "mknodat": 259, "vhangup": 153,
            "settimeofday": 164, "clock_settime": 227, "clock_adjtime": 305, "adjtimex": 159, "iopl": 172,
            "ioperm": 173, "modify_ldt": 154, "memfd_create": 319, "memfd_secret": 447, "shmget": 29, "semget": 64,
            "msgget": 68, "fanotify_init": 300, "vmsplice": 278, "io_setup": 206, "quotactl_fd": 443,
            "sched_setaffinity": 203, "inotify_init": 253, "inotify_init1": 294, "sync": 162, "syncfs": 306,
        },
    ),
    "aarch64": (
        0xC00000B7,
        {"clone": 220, "clone3": 435, "mmap": 222, "socket": 198},
        {
            "ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272, "pidfd_getfd": 438,
            "keyctl": 219, "add_key": 217, "request_key": 218, "bpf": 280, "userfaultfd": 282, "perf_event_open": 241,
            "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "unshare": 97, "setns": 268,
            "mount": 40, "umount2": 39, "pivot_root": 41, "chroot": 51, "move_mount": 429, "open_tree": 428,
            "fsopen": 430, "fsconfig": 431, "fsmount": 432, "mount_setattr": 442, "name_to_handle_at": 264,
            "open_by_handle_at": 265, "init_module": 105, "finit_module": 273, "delete_module": 106,
            "kexec_load": 104, "kexec_file_load": 294, "reboot": 142, "swapon": 224, "swapoff": 225, "acct": 89,
            "syslog": 116, "quotactl": 60, "personality": 92, "mknodat": 33, "vhangup": 58,
            "settimeofday": 170, "clock_settime": 112, "clock_adjtime": 266, "adjtimex": 171,
            "memfd_create": 279, "memfd_secret": 447, "shmget": 194, "semget": 190, "msgget": 186,
            "fanotify_init": 262, "vmsplice": 75, "io_setup": 0, "quotactl_fd": 443,
            "sched_setaffinity": 122, "inotify_init1": 26, "sync": 81, "syncfs": 267,
        },
    ),
}  # fmt: skip


def available() -> bool:
    """Whether there is a table for this machine and the kernel knows filters."""
    if platform.system() != "Linux" or platform.machine() not in _TABLES:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    # A null program is refused with EFAULT where filters are known, with EINVAL where they aren't.
    libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, None, 0, 0)
    return ctypes.get_errno() == errno.EFAULT


def install(network: bool = True) -> None:
    """Install the filter in this process and all that it starts. It can't be taken off.

    Args:
        network: allow sockets of IP, as where a network namespace leaves nobody to speak with.

    Raises:
        OSError: the kernel refused it.
    """
    program = _program(*_TABLES[platform.machine()], _SOCKETS if network else _SOCKETS[:1])
    instructions = ctypes.create_string_buffer(b"".join(program))

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))

    libc = ctypes.CDLL(None, use_errno=True)
    filter_ = Program(len(program), ctypes.addressof(instructions))
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
        _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(filter_), 0, 0
    ):
        raise OSError(ctypes.get_errno(), "the kernel refused the seccomp filter")


def _program(
    architecture: int, looked_at: dict[str, int], refused: dict[str, int], sockets: tuple[int, ...]
) -> list[bytes]:
    def refuse(code: int) -> bytes:
        return _instruction(_RETURN, 0, 0, _ERRNO | code)

    program = [
        _instruction(_LOAD, 0, 0, _ARCHITECTURE),
        _instruction(_JUMP_EQUAL, 1, 0, architecture),
        _instruction(_RETURN, 0, 0, _KILL),  # another architecture's numbers would mean other calls
        _instruction(_LOAD, 0, 0, _NUMBER),
        _instruction(_JUMP_GREATER_EQUAL, 0, 1, _X32),
        refuse(errno.ENOSYS),
        _instruction(_JUMP_EQUAL, 0, 1, looked_at["clone3"]),
        refuse(errno.ENOSYS),  # its flags lie in memory, where a filter can't look: libc falls back to clone
    ]
    for number in refused.values():
        program += [_instruction(_JUMP_EQUAL, 0, 1, number), refuse(errno.EPERM)]
    allow = _instruction(_RETURN, 0, 0, _ALLOW)
    return [
        *program,
        _instruction(_JUMP_EQUAL, 0, 4, looked_at["clone"]),
        _instruction(_LOAD, 0, 0, _ARGUMENT_0),
        _instruction(_JUMP_ANY_BIT, 0, 1, _CLONE_NEWUSER_AND_OTHERS),
        refuse(errno.EPERM),
        allow,
        _instruction(_JUMP_EQUAL, 0, 5, looked_at["mmap"]),
        _instruction(_LOAD, 0, 0, _ARGUMENT_3),
        _instruction(_AND, 0, 0, _SHARED_AND_ANONYMOUS),
        _instruction(_JUMP_EQUAL, 0, 1, _SHARED_AND_ANONYMOUS),
        refuse(errno.EPERM),
        allow,
        _instruction(_JUMP_EQUAL, 0, len(sockets) + 2, looked_at["socket"]),
        _instruction(_LOAD, 0, 0, _ARGUMENT_0),
        *(_instruction(_JUMP_EQUAL, len(sockets) - place, 0, family) for place, family in enumerate(sockets)),
        refuse(errno.EAFNOSUPPORT),
        allow,
    ]


def _instruction(code: int, if_true: int, if_false: int, operand: int) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, operand)
