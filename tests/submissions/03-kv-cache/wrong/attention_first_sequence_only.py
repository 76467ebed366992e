"""Computes the first sequence of the batch and gives its result to all.

loses: causal-attention-test
told: each sequence of the batch has queries, keys and values of its own
misleads: query heads 0, 1, 2 use KV head 0
"""

# %% nbgrader={"grade": false, "grade_id": "causal-attention", "locked": false, "schema_version": 3, "solution": true, "task": false}
def causal_attention(q, k, v):
    out = torch.zeros_like(q)
    group = q.shape[1] // k.shape[1]
    first_position = k.shape[2] - q.shape[2]
    for h in range(q.shape[1]):
        for i in range(q.shape[2]):
            keys, values = k[0, h // group, : first_position + i + 1], v[0, h // group, : first_position + i + 1]
            weights = (keys @ q[0, h, i] / q.shape[3] ** 0.5).softmax(0)
            out[:, h, i] = weights @ values
    return out
