"""Computes in NumPy, and in its dtypes.
"""

# %% nbgrader={"grade": false, "grade_id": "effective-bits", "locked": false, "schema_version": 3, "solution": true, "task": false}
import numpy as np


def effective_bits(bits, group_size, columns, scale_bits=16, zero_bits=None):
    size = columns if group_size is None else group_size
    groups = np.ceil(np.float64(columns) / size)
    zero = np.int64(bits) if zero_bits is None else np.int64(zero_bits)
    return (columns * bits + groups * (scale_bits + zero)) / columns
