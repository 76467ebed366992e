"""Opens files and sockets until it may not."""

# %% after="work-test"
import os, socket
kept = []
try:
    while len(kept) < 5000:
        kept += [os.open("/dev/null", os.O_RDONLY)]
except OSError as error:
    print("stopped below 260:", len(kept) < 260, error.strerror)
for fd in kept:
    os.close(fd)
