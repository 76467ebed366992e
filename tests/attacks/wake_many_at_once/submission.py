"""Sleeps in a cell, beside 40 processes that wake together: each waits for the others, and uses next to nothing."""

# %% after="work-test"
import os
import time

print("sleeps", flush=True)
began = time.time()
for _ in range(40):
    if os.fork() == 0:
        for number in range(1, 1000):
            time.sleep(max(0, began + number / 2 - time.time()))
            until = time.thread_time() + 0.0008
            while time.thread_time() < until:
                pass
time.sleep(1000)
