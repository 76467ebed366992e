"""Refuses NaN and takes infinity.

loses: int8-absmax-test
"""

# %% nbgrader={"grade": false, "grade_id": "int8-absmax", "locked": false, "schema_version": 3, "solution": true, "task": false}
def quantize_int8(weight, per_channel=False):
    if weight.isnan().any():
        raise ValueError("the weight has numbers that are NaN or infinite")
    absmax = weight.abs().amax(dim=1, keepdim=True) if per_channel else weight.abs().max()
    scale = torch.where(absmax > 0, absmax / 127, 1.0)
    return (weight / scale).round().clamp(-127, 127).to(torch.int8), scale
