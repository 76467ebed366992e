"""Waits behind its own children, which end before anybody has looked at what they used, and are never waited for."""

# %% after="work-test"
import os
import signal
import time


def burn(seconds):
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


print("burns", flush=True)
for count, seconds in ((10, 0.012), (2, 5)):
    if os.fork() == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        while True:
            for _ in range(count):
                try:
                    if os.fork() == 0:
                        burn(seconds)
                        os._exit(0)
                except OSError:
                    pass
            time.sleep(1.2 * seconds)
os.nice(17)
burn(1000)
