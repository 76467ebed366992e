"""Takes shared memory of all kinds: anonymous mappings, /dev/zero, memfd, System V, /dev/shm."""

# %% after="work-test"
import ctypes, mmap, os
libc = ctypes.CDLL(None, use_errno=True)
libc.shmget.restype = ctypes.c_int
def attempt(name, call):
    try:
        print(name, "TAKEN" if call() else "refused")
    except OSError as error:
        print(name, "refused", error.strerror)
attempt("anonymous", lambda: mmap.mmap(-1, 2**20))
def zero():
    with open("/dev/zero", "r+b") as file:
        return mmap.mmap(file.fileno(), 2**20)
attempt("zero", zero)
attempt("memfd", lambda: os.memfd_create("x") >= 0)
attempt("sysv", lambda: libc.shmget(0, 2**20, 0o1600) >= 0)
attempt("semaphores", lambda: libc.semget(0, 10, 0o1600) >= 0)
attempt("messages", lambda: libc.msgget(0, 0o1600) >= 0)
attempt("private", lambda: len(mmap.mmap(-1, 2**20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)))
