"""Drops the last byte if it isn't full.

loses: weight-bytes-test
"""

# %% nbgrader={"grade": false, "grade_id": "weight-bytes", "locked": false, "schema_version": 3, "solution": true, "task": false}
def weight_bytes(parts, bits, rest_bits=16):
    matrices = parts["attention"] + parts["mlp"]
    rest = sum(parts.values()) - matrices
    return int((matrices * bits + rest * rest_bits) / 8)
