"""Each exercise ends its process or the call in another way: _exit, a segmentation fault, abort, KeyboardInterrupt, SystemExit, GeneratorExit, SIGKILL."""

# %% nbgrader={"grade_id": "work", "solution": true, "grade": false}
import ctypes, os, signal, sys
def positions_processed(prompt_tokens, new_tokens):
    os._exit(0)

# %% nbgrader={"grade_id": "memory", "solution": true, "grade": false}
def kv_cache_bytes(*a, **k):
    ctypes.string_at(0)

# %% nbgrader={"grade_id": "causal-attention", "solution": true, "grade": false}
def causal_attention(q, k, v):
    os.abort()

# %% nbgrader={"grade_id": "rope", "solution": true, "grade": false}
def apply_rope(x, start, theta=10_000.0):
    raise KeyboardInterrupt

# %% nbgrader={"grade_id": "kv-cache", "solution": true, "grade": false}
class KVCache:
    def __init__(self, *a, **k):
        raise GeneratorExit

# %% nbgrader={"grade_id": "generate", "solution": true, "grade": false}
def generate(model, prompt, max_new_tokens, cache, stop_token=None):
    os.kill(os.getpid(), signal.SIGKILL)

# %% nbgrader={"grade_id": "chunked-prefill", "solution": true, "grade": false}
def prefill_in_chunks(model, prompt, cache, chunk_size):
    sys.exit(0)
