"""Counts positions along the heads' dimension, as for [batch, seq, heads, head_dim].

loses: rope-test
told: each token along dimension 2
"""

# %% nbgrader={"grade": false, "grade_id": "rope", "locked": false, "schema_version": 3, "solution": true, "task": false}
def apply_rope(x, start, theta=10_000.0):
    new, head_dim = x.shape[1], x.shape[3]
    positions = torch.arange(start, start + new).float()
    freqs = theta ** (-torch.arange(0, head_dim, 2).float() / head_dim)
    angles = (positions[:, None] * freqs)[:, None, :]
    x1, x2 = x.chunk(2, dim=-1)
    return torch.cat((x1 * angles.cos() - x2 * angles.sin(), x2 * angles.cos() + x1 * angles.sin()), dim=-1)
