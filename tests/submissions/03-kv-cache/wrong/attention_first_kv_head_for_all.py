"""Broadcasts the first KV head to all query heads.

loses: causal-attention-test
told: each head has its own keys and values
misleads: divided by sqrt(head_dim)
"""

# %% nbgrader={"grade": false, "grade_id": "causal-attention", "locked": false, "schema_version": 3, "solution": true, "task": false}
def causal_attention(q, k, v):
    """Causal attention of new positions to all positions so far."""
    batch, heads, new, head_dim = q.shape
    total = k.shape[2]
    k = k[:, :1]
    v = v[:, :1]
    scores = q @ k.transpose(-2, -1) / head_dim**0.5
    mask = torch.tril(torch.ones(new, total, dtype=torch.bool), diagonal=total - new)
    scores = scores.masked_fill(~mask, float("-inf"))
    weights = torch.softmax(scores, dim=-1)
    return weights @ v
