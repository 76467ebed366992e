"""Fills every folder that it can write, with data and with empty files."""

# %% after="work-test"
import os
def fill(folder):
    written = 0
    try:
        for number in range(40):
            with open(f"{folder}/big{number}", "wb") as file:
                for _ in range(64):
                    written += file.write(b"x" * 2**20)
                    file.flush()
    except OSError as error:
        return written >> 20, error.strerror
    return written >> 20, "no end"
for folder in ("/tmp", "/learner", "/dev/shm"):
    megabytes, why = fill(folder)
    print(folder, megabytes <= 128, why)
    for name in os.listdir(folder):
        if name.startswith("big"):
            os.unlink(f"{folder}/{name}")

# %% after="memory-test"
made = 0
try:
    while made < 100_000:
        open(f"/tmp/empty{made}", "w").close()
        made += 1
except OSError as error:
    print("files", made <= 20_000, error.strerror)
try:
    with open("/tmp/x", "wb") as file:
        file.truncate(2**40)
except OSError as error:
    print("sparse", error.strerror)
