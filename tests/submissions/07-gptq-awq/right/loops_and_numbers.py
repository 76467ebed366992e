"""One number after another, in loops and lists, with fractions where they are exact.
"""

# %% nbgrader={"grade": false, "grade_id": "effective-bits", "locked": false, "schema_version": 3, "solution": true, "task": false}
from fractions import Fraction


def effective_bits(bits, group_size, columns, scale_bits=16, zero_bits=None):
    if group_size is None:
        group_size = columns
    if zero_bits is None:
        zero_bits = bits
    full, rest = divmod(columns, group_size)
    return Fraction(columns * bits + (full + (rest > 0)) * (scale_bits + zero_bits), columns)
