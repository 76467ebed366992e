"""Returns lists in themselves, towers of lists, dicts with odd keys, numbers of ten thousand digits, and more."""

# %% nbgrader={"grade_id": "work", "solution": true, "grade": false}
import torch, numpy as np
def positions_processed(prompt_tokens, new_tokens):
    circle = []
    circle.append(circle)
    return circle, circle

# %% nbgrader={"grade_id": "memory", "solution": true, "grade": false}
def kv_cache_bytes(*a, **k):
    tower = 0
    for _ in range(100_000):
        tower = (tower,)
    return tower

# %% nbgrader={"grade_id": "causal-attention", "solution": true, "grade": false}
def causal_attention(q, k, v):
    return {(1, 2): 3, 2**70: 1, None: 2, 1.5: 3}

# %% nbgrader={"grade_id": "rope", "solution": true, "grade": false}
def apply_rope(x, start, theta=10_000.0):
    return torch.zeros(x.shape).to_sparse()

# %% nbgrader={"grade_id": "kv-cache", "solution": true, "grade": false}
class KVCache:
    nbytes = 10 ** 5000
    def __init__(self, *a, **k): pass
    def __len__(self): return 0
    def update(self, layer, k, v): return "\ud800", b"\x00" * 100
    def rewind(self, length): pass

# %% nbgrader={"grade_id": "generate", "solution": true, "grade": false}
def generate(model, prompt, max_new_tokens, cache, stop_token=None):
    return np.array([object()] * 3, dtype=object), np.longdouble(1), np.datetime64("2020-01-01"), 1j

# %% nbgrader={"grade_id": "chunked-prefill", "solution": true, "grade": false}
def prefill_in_chunks(model, prompt, cache, chunk_size):
    return torch.empty(64, device="meta")
