"""Shares the second-level scale among scale_group weights instead of scale_group scales.

loses: bits-per-weight-test
"""

# %% nbgrader={"grade": false, "grade_id": "bits-per-weight", "locked": false, "schema_version": 3, "solution": true, "task": false}
def bits_per_weight(
    bits, group=None, scale_bits=0, zero_bits=0, scale_group=None, second_bits=0
):
    total = bits
    if group is not None:
        total += (scale_bits + zero_bits) / group
        if scale_group is not None:
            total += second_bits / scale_group
    return float(total)
