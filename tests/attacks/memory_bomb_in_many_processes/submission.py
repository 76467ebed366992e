"""Eight processes of 700 MB each."""

# %% after="work-test"
import os, time
for _ in range(8):
    if os.fork() == 0:
        kept = bytearray(700 * 2**20)
        kept[::4096] = b"x" * len(range(0, len(kept), 4096))
        time.sleep(600)
time.sleep(60)
