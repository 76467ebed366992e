"""Floods the grader with calls of test objects that don't exist, and with large answers."""

# %% nbgrader={"grade_id": "work", "solution": true, "grade": false}
import os, stat, struct, time
import msgpack

# The channel to the grader is the one socket that this process has.
CHANNEL = next(fd for fd in range(3, 256) if os.path.exists(f"/proc/self/fd/{fd}") and stat.S_ISSOCK(os.fstat(fd).st_mode))

def write(data):
    view = memoryview(data)
    while view:
        view = view[os.write(CHANNEL, view):]

def frame(message):
    data = message if type(message) is bytes else msgpack.packb(message)
    write(struct.pack(">I", len(data)) + data)

def positions_processed(prompt_tokens, new_tokens):
    while True:
        frame(["callback", 0, "__call__", [], {}])

# %% nbgrader={"grade_id": "memory", "solution": true, "grade": false}
import os, stat, struct, time
import msgpack

# The channel to the grader is the one socket that this process has.
CHANNEL = next(fd for fd in range(3, 256) if os.path.exists(f"/proc/self/fd/{fd}") and stat.S_ISSOCK(os.fstat(fd).st_mode))

def write(data):
    view = memoryview(data)
    while view:
        view = view[os.write(CHANNEL, view):]

def frame(message):
    data = message if type(message) is bytes else msgpack.packb(message)
    write(struct.pack(">I", len(data)) + data)

def kv_cache_bytes(*a, **k):
    while True:
        frame(["ok", b"x" * (2**25 - 100), []])
