"""Leaves the biases out.

loses: weight-bytes-test
"""

# %% nbgrader={"grade": false, "grade_id": "weight-bytes", "locked": false, "schema_version": 3, "solution": true, "task": false}
def weight_bytes(parts, bits, rest_bits=16):
    matrices = parts["attention"] + parts["mlp"]
    rest = parts["embedding"] + parts["norms"] + parts["head"]
    return math.ceil((matrices * bits + rest * rest_bits) / 8)
