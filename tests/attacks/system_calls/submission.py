"""Tries the calls that climb walls: mount, unshare, setns, bpf, keyctl, userfaultfd, io_uring, perf, ptrace and more."""

# %% after="work-test"
import ctypes, errno, os, platform
libc = ctypes.CDLL(None, use_errno=True)
NUMBERS = {"x86_64": dict(mount=165, umount2=166, unshare=272, setns=308, bpf=321, keyctl=250, add_key=248, userfaultfd=323,
    io_uring_setup=425, perf_event_open=298, ptrace=101, process_vm_readv=310, process_vm_writev=311, chroot=161, pivot_root=155,
    open_by_handle_at=304, name_to_handle_at=303, kcmp=312, pidfd_getfd=438, fsopen=430, open_tree=428, move_mount=429,
    init_module=175, reboot=169, personality=135, clone3=435, swapon=167, mknod=133, syslog=103, memfd_secret=447, fanotify_init=300,
    vmsplice=278, modify_ldt=154, io_setup=206, sched_setaffinity=203, inotify_init=253, inotify_init1=294, sync=162, syncfs=306),
    "aarch64": dict(mount=40, umount2=39, unshare=97, setns=268, bpf=280, keyctl=219, add_key=217, userfaultfd=282, io_uring_setup=425,
    perf_event_open=241, ptrace=117, process_vm_readv=270, process_vm_writev=271, chroot=51, pivot_root=41, sched_setaffinity=122,
    inotify_init1=26, sync=81, syncfs=267)}[platform.machine()]
answers = {}
for name, number in NUMBERS.items():
    arguments = (0, 0, 0, 0, 0, 0) if name != "unshare" else (0x10000000, 0, 0, 0, 0, 0)
    result = libc.syscall(number, *(ctypes.c_long(a) for a in arguments))
    answers[name] = errno.errorcode.get(ctypes.get_errno()) if result == -1 else f"LEAKED {result}"
print(sorted(set(answers.values())), [n for n, a in answers.items() if a not in ("EPERM", "ENOSYS")])
clone = {"x86_64": 56, "aarch64": 220}[platform.machine()]
for flag in (0x10000000, 0x20000000, 0x40000000, 0x00020000, 0x08000000, 0x04000000, 0x02000000):
    result = libc.syscall(clone, ctypes.c_long(flag | 17), 0, 0, 0, 0)
    if result == 0:
        os._exit(0)
    print("clone", hex(flag), errno.errorcode[ctypes.get_errno()] if result == -1 else "LEAKED")
