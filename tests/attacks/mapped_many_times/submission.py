"""Maps one file a hundred times over, in 50 processes, so that adding up their memory takes as long as it likes."""

# %% after="work-test"
import mmap
import os
import time

SIZE = 60 * 2**20
POPULATE = 0x8000
with open("/learner/file", "wb") as file:
    file.write(b"x" * SIZE)
descriptor = os.open("/learner/file", os.O_RDWR)
print("maps", flush=True)
for _ in range(50):
    if os.fork() == 0:
        maps = [mmap.mmap(descriptor, SIZE, flags=mmap.MAP_SHARED | POPULATE) for _ in range(100)]
        while True:
            pass
time.sleep(1000)
