"""Scales the queries and lets SDPA scale once more.

loses: causal-attention-test
"""

# %% nbgrader={"grade": false, "grade_id": "causal-attention", "locked": false, "schema_version": 3, "solution": true, "task": false}
def causal_attention(q, k, v):
    new, total = q.shape[2], k.shape[2]
    mask = torch.ones(new, total, dtype=torch.bool).tril(total - new)
    q = q / q.shape[-1] ** 0.5
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)
