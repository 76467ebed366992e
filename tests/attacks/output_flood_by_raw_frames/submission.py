"""Sends the grader outputs of a form of its own, the largest that a frame takes."""

# %% after="work-test"
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

frame(["ok", {"outputs": [{"output_type": "error", "ename": "E", "evalue": "e", "traceback": "\n" * 30_000_000}], "failed": False}, []])

# %% after="memory-test"
frame(["ok", {"outputs": [{"output_type": "stream", "name": "stdout", "text": "z" * 30_000_000}] * 1, "failed": False}, []])

# %% after="rope-test"
frame(["ok", {"outputs": [{"output_type": "execute_result", "data": {"text/plain": "99.0"}}, {"output_type": "display_data",
       "data": {"application/javascript": "alert(1)", "image/png": '"><script>', "text/plain": 5}}, 7, None, {"output_type": "stream"}], "failed": False}, []])

# %% after="kv-state-test"
frame(["ok", "no dict", []])
