"""Rounds every part up by itself.

loses: weight-bytes-test
"""

# %% nbgrader={"grade": false, "grade_id": "weight-bytes", "locked": false, "schema_version": 3, "solution": true, "task": false}
def weight_bytes(parts, bits, rest_bits=16):
    matrices = parts["attention"] + parts["mlp"]
    rest = sum(parts.values()) - matrices
    return math.ceil(parts["attention"] * bits / 8) + math.ceil(parts["mlp"] * bits / 8) + math.ceil(rest * rest_bits / 8)
