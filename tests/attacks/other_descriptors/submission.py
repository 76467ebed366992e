"""Writes to every descriptor that it has, looks for the control channel, then closes and redirects them all."""

# %% after="work"
import os, stat
kinds = {}
for fd in range(0, 256):
    try:
        mode = os.fstat(fd).st_mode
        kinds[fd] = "socket" if stat.S_ISSOCK(mode) else os.readlink(f"/proc/self/fd/{fd}").split(":")[0]
    except OSError:
        pass
print("sockets", list(kinds.values()).count("socket"), "pipes", list(kinds.values()).count("pipe"))

# %% after="memory-test"
for fd in kinds:
    for words in (b"+", b"-", b"ended\n", b"warm\n", b'{"namespaces": true}\n'):
        try:
            os.write(fd, words)
        except OSError:
            pass
for fd in kinds:
    try:
        os.dup2(os.open("/dev/null", os.O_RDWR), fd)
        os.close(fd)
    except OSError:
        pass
os.closerange(0, 256)
