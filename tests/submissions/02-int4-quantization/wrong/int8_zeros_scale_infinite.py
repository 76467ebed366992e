"""Takes 1 / scale with a scale of 0 for zeros and cleans the codes up, not the scale.

loses: int8-absmax-test, double-quant-test, linear-4bit-test, llm-int8-test
"""

# %% nbgrader={"grade": false, "grade_id": "int8-absmax", "locked": false, "schema_version": 3, "solution": true, "task": false}
def quantize_int8(weight, per_channel=False):
    if not weight.isfinite().all():
        raise ValueError("the weight has numbers that are NaN or infinite")
    absmax = weight.abs().amax(dim=1, keepdim=True) if per_channel else weight.abs().max()
    scale = 1 / (127 / absmax)
    scale = torch.where(absmax > 0, scale, torch.inf)
    return (weight / scale).round().clamp(-127, 127).to(torch.int8), scale
