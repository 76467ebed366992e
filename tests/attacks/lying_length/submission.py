"""Its process answers len() with what is no length: text, a bool, a negative, a huge number, NaN."""

# %% nbgrader={"grade_id": "kv-cache", "solution": true, "grade": false}
import itertools, sys
from autograder.isolation.learner import Server
lies = itertools.cycle(["3", True, -1, 2**70, float("nan"), None, [3], 3.0])
Server._do_len = lambda self, target: next(lies)
class KVCache:
    nbytes = 512
    def __init__(self, *a, **k): pass
    def __len__(self): return 0
    def update(self, layer, k, v): return k, v
    def rewind(self, length): pass
