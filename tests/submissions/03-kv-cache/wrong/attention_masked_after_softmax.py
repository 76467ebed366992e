"""Zeroes the hidden weights after the softmax, so the others no longer sum to one.

loses: causal-attention-test
told: hide keys before the softmax
"""

# %% nbgrader={"grade": false, "grade_id": "causal-attention", "locked": false, "schema_version": 3, "solution": true, "task": false}
def causal_attention(q, k, v):
    """Causal attention of new positions to all positions so far."""
    batch, heads, new, head_dim = q.shape
    kv_heads, total = k.shape[1], k.shape[2]
    k = k.repeat_interleave(heads // kv_heads, dim=1)
    v = v.repeat_interleave(heads // kv_heads, dim=1)
    scores = q @ k.transpose(-2, -1) / head_dim**0.5
    mask = torch.tril(torch.ones(new, total, dtype=torch.bool), diagonal=total - new)
    weights = torch.softmax(scores, dim=-1) * mask
    return weights @ v
