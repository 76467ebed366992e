"""Prepares angles for 2048 positions; there are none for a token beyond.

loses: rope-test
"""

# %% nbgrader={"grade": false, "grade_id": "rope", "locked": false, "schema_version": 3, "solution": true, "task": false}
MAX_POSITIONS = 2048


def apply_rope(x, start, theta=10_000.0):
    new, d = x.shape[2:]
    freqs = theta ** (-torch.arange(0, d, 2).float() / d)
    angles = torch.outer(torch.arange(MAX_POSITIONS).float(), freqs)[start : start + new]
    x1, x2 = x.chunk(2, dim=-1)
    return torch.cat((x1 * angles.cos() - x2 * angles.sin(), x2 * angles.cos() + x1 * angles.sin()), dim=-1)
