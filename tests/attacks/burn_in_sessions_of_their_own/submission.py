"""Burns with 40 processes, each of a session of its own, which many kernels give a share of its own, on every core."""

# %% after="work-test"
import os
for _ in range(40):
    if os.fork() == 0:
        os.setsid()
        try:
            os.sched_setaffinity(0, range(os.cpu_count()))
            print("LEAKED a processor")
        except PermissionError:
            pass
        while True:
            pass
