"""Answers a test's call with a malformed message: odd dtype."""

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
    frame(["ok", msgpack.ExtType(2, msgpack.packb(["object", [1], b"12345678", [0]])), []])
    time.sleep(60)
