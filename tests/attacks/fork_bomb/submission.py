"""Forks until it may not, at most 300 times."""

# %% after="work-test"
import os, time
made = []
try:
    while len(made) < 300:
        pid = os.fork()
        if pid == 0:
            time.sleep(600)
            os._exit(0)
        made.append(pid)
except OSError as error:
    print("stopped below 70:", len(made) < 70, error.strerror)

# %% after="memory-test"
print('and goes on')
