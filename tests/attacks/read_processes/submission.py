"""Looks through /proc for other processes: their folders, environment, descriptors and memory."""

# %% after="work"
import os
others = sorted(int(p) for p in os.listdir("/proc") if p.isdigit() and int(p) != os.getpid())
print("others", others)
for pid in set(others + [os.getppid(), 1]) - {os.getpid()}:
    for what in ("cwd", "root", "exe", "fd", "environ", "mem", "mem+", "maps", "task/1/mem", "map_files", "syscall", "stack"):
        path = f"/proc/{pid}/{what}".rstrip("+")
        try:
            if what in ("fd", "map_files"):
                got = [os.readlink(f"{path}/{name}") for name in os.listdir(path)]
            elif what in ("cwd", "root", "exe"):
                got = os.listdir(path) if what != "exe" else os.readlink(path)
            else:
                with open(path, "r+b" if what == "mem+" else "rb", buffering=0) as file:
                    got = file.read(1)
            print("LEAKED", path, got)
        except OSError as error:
            print("refused", what, error.strerror)
for path in ("/proc/kcore", "/dev/mem", "/dev/kmem", "/proc/kmsg", "/dev/kmsg"):
    try:
        open(path, "rb").read(1)
        print("LEAKED", path)
    except OSError as error:
        print("refused", path)
