"""Computes with fractions and returns a float.
"""

# %% nbgrader={"grade": false, "grade_id": "weight-gigabytes", "locked": false, "schema_version": 3, "solution": true, "task": false}
def weight_gigabytes(parameters, bits):
    from fractions import Fraction

    return float(Fraction(parameters) * Fraction(bits) / 8 / 10**9)
