"""Takes theta ** (+2i/d): the frequencies rise instead of falling.

loses: rope-test
told: its angle is position * theta ** (-2i/d)
"""

# %% nbgrader={"grade": false, "grade_id": "rope", "locked": false, "schema_version": 3, "solution": true, "task": false}
def apply_rope(x, start, theta=10_000.0):
    """Rotate queries or keys by their positions in the whole sequence."""
    new, head_dim = x.shape[2], x.shape[3]
    positions = torch.arange(start, start + new)
    freqs = theta ** (torch.arange(0, head_dim, 2).float() / head_dim)
    angles = torch.outer(positions.float(), freqs)
    cos, sin = angles.cos(), angles.sin()
    x1, x2 = x[..., : head_dim // 2], x[..., head_dim // 2 :]
    return torch.cat((x1 * cos - x2 * sin, x2 * cos + x1 * sin), dim=-1)
