"""Keeps the table of angles between calls and doesn't notice another theta.

loses: rope-test
told: another theta
"""

# %% nbgrader={"grade": false, "grade_id": "rope", "locked": false, "schema_version": 3, "solution": true, "task": false}
_tables = {}


def apply_rope(x, start, theta=10_000.0):
    head_dim = x.shape[3]
    if head_dim not in _tables:
        freqs = theta ** (-torch.arange(0, head_dim, 2).float() / head_dim)
        angles = torch.arange(8192).float()[:, None] * freqs
        _tables[head_dim] = angles.cos(), angles.sin()
    cos, sin = (table[start : start + x.shape[2]] for table in _tables[head_dim])
    x1, x2 = x.chunk(2, dim=-1)
    return torch.cat((x1 * cos - x2 * sin, x2 * cos + x1 * sin), dim=-1)
