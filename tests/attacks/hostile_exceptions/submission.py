"""Raises exceptions with hostile names, with messages that raise, without an end, in half characters, and named for the grader's own."""

# %% nbgrader={"grade_id": "work", "solution": true, "grade": false}
import torch
class Wrong(Exception):
    pass
class LearnerLost(BaseException):
    pass
class Loud(Exception):
    def __str__(self):
        raise SystemExit("from __str__")
def positions_processed(prompt_tokens, new_tokens):
    raise type("<script>alert(1)</script>", (ValueError,), {})("<img src=x onerror=alert(1)>")

# %% nbgrader={"grade_id": "memory", "solution": true, "grade": false}
def kv_cache_bytes(*a, **k):
    raise Loud

# %% nbgrader={"grade_id": "causal-attention", "solution": true, "grade": false}
def causal_attention(q, k, v):
    raise Wrong("✓ all points")

# %% nbgrader={"grade_id": "rope", "solution": true, "grade": false}
def apply_rope(x, start, theta=10_000.0):
    raise LearnerLost("x" * 10_000_000)

# %% nbgrader={"grade_id": "generate", "solution": true, "grade": false}
def generate(model, prompt, max_new_tokens, cache, stop_token=None):
    raise ValueError("\ud800 half a character")

# %% nbgrader={"grade_id": "chunked-prefill", "solution": true, "grade": false}
class AssertionError(Exception):
    pass
def prefill_in_chunks(model, prompt, cache, chunk_size):
    raise StopIteration([])
