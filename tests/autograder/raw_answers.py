"""A learner's function that writes to the grader's channel what it likes."""

# A learner's process can say what it likes to the grader.
RAW = """
import os, stat, struct, msgpack
there = [fd for fd in range(3, 256) if os.path.exists(f"/proc/self/fd/{{fd}}")]
channel = next(fd for fd in there if stat.S_ISSOCK(os.fstat(fd).st_mode))
def one(a, b):
    data = msgpack.packb({message})
    os.write(channel, struct.pack(">I", len(data)) + data)
    os._exit(0)
"""
