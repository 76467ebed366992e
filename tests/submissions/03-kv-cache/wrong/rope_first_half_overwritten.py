"""Works in place: the second half is computed from the first half's new numbers.

loses: rope-test
told: both are made from the old numbers
misleads: the first new token stands at position `start`
"""

# %% nbgrader={"grade": false, "grade_id": "rope", "locked": false, "schema_version": 3, "solution": true, "task": false}
def apply_rope(x, start, theta=10_000.0):
    """Rotate queries or keys by their positions in the whole sequence."""
    new, head_dim = x.shape[2], x.shape[3]
    positions = torch.arange(start, start + new)
    freqs = 1.0 / theta ** (torch.arange(0, head_dim, 2).float() / head_dim)
    angles = torch.outer(positions.float(), freqs)
    cos, sin = angles.cos(), angles.sin()
    out = x.clone()
    x1, x2 = out[..., : head_dim // 2], out[..., head_dim // 2 :]
    x1[:] = x1 * cos - x2 * sin
    x2[:] = x2 * cos + x1 * sin
    return out
