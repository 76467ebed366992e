"""By eigenvalues, solves and einsum in place of the textbook's steps.
"""

# %% nbgrader={"grade": false, "grade_id": "effective-bits", "locked": false, "schema_version": 3, "solution": true, "task": false}
def effective_bits(bits, group_size, columns, scale_bits=16, zero_bits=None):
    size = min(group_size or columns, columns)
    row = columns * bits
    row += (columns + size - 1) // size * scale_bits
    row += (columns + size - 1) // size * (bits if zero_bits is None else zero_bits)
    return row / columns
