"""Small typed helpers, and the course's own grids.
"""

# %% nbgrader={"grade": false, "grade_id": "effective-bits", "locked": false, "schema_version": 3, "solution": true, "task": false}
import math


def bits_of_ruler(bits: int, scale_bits: int, zero_bits: int | None) -> int:
    return scale_bits + (bits if zero_bits is None else zero_bits)


def effective_bits(bits, group_size, columns, scale_bits=16, zero_bits=None):
    groups = sum(1 for _ in grids.groups(columns, group_size))
    return math.fsum([bits, groups * bits_of_ruler(bits, scale_bits, zero_bits) / columns])
