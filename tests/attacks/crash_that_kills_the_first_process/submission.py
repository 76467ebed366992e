"""Interrupts and kills the first process of its namespace, its parent, and everyone it can reach."""

# %% after="work-test"
import os, signal
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL, signal.SIGSTOP):
    for pid in (1, os.getppid(), -1):
        try:
            os.kill(pid, number)
        except OSError as error:
            print(pid, error.strerror)
