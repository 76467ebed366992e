"""Takes what the whole machine has one pool of: pseudo-terminals, and watches over files; and lets it write its disks."""

# %% after="work-test"
import ctypes
import errno
import os
import platform

libc = ctypes.CDLL(None, use_errno=True)
taken = []
for path in ("/dev/ptmx", "/dev/pts/ptmx"):
    try:
        taken.append(os.open(path, os.O_RDWR | os.O_NOCTTY))
    except OSError as error:
        print(path, errno.errorcode[error.errno])
print("LEAKED" if taken or libc.inotify_init1(0) >= 0 else f"watches {errno.errorcode[ctypes.get_errno()]}")
sync = {"x86_64": 162, "aarch64": 81}[platform.machine()]
print("LEAKED" if libc.syscall(sync) == 0 else f"sync {errno.errorcode[ctypes.get_errno()]}")

# %% after="memory-test"
what = "a line"
get_ipython().system("echo {what} of the shell; exit 3")
print(get_ipython().getoutput("echo another"), _exit_code)
