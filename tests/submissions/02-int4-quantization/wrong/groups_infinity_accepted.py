"""Refuses NaN and takes infinity.

loses: int4-groups-test
"""

# %% nbgrader={"grade": false, "grade_id": "int4-groups", "locked": false, "schema_version": 3, "solution": true, "task": false}
def quantize_groups(weight, group_size=32, bits=4):
    if group_size < 1:
        raise ValueError(f"groups of {group_size}")
    if weight.isnan().any():
        raise ValueError("the weight has numbers that are NaN or infinite")
    numbers = weight.flatten()
    missing = -len(numbers) % group_size
    groups = torch.cat((numbers, numbers[-1:].expand(missing))).reshape(-1, group_size)
    minimum, maximum = groups.amin(dim=1), groups.amax(dim=1)
    top = 2**bits - 1
    scale = torch.where(maximum > minimum, (maximum - minimum) / top, 1.0)
    codes = ((groups - minimum[:, None]) / scale[:, None]).round().clamp(0, top)
    return codes.to(torch.uint8).flatten()[: len(numbers)], scale, minimum


def dequantize_groups(codes, scale, minimum, group_size, shape):
    padded = torch.nn.functional.pad(codes, (0, -len(codes) % group_size))
    numbers = padded.reshape(-1, group_size) * scale[:, None] + minimum[:, None]
    return numbers.flatten()[: len(codes)].reshape(shape)
