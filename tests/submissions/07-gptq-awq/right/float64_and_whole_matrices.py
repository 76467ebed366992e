"""Everything in float64, and whole matrices at once.
"""

# %% nbgrader={"grade": false, "grade_id": "effective-bits", "locked": false, "schema_version": 3, "solution": true, "task": false}
def effective_bits(bits, group_size, columns, scale_bits=16, zero_bits=None):
    groups = len(range(0, columns, group_size or columns))
    extra = groups * (scale_bits + (zero_bits if zero_bits is not None else bits))
    return torch.tensor(bits + extra / columns, dtype=torch.float64)
