"""Goes by bytes a weight, and gigabytes as a power.
"""

# %% nbgrader={"grade": false, "grade_id": "weight-gigabytes", "locked": false, "schema_version": 3, "solution": true, "task": false}
def weight_gigabytes(parameters, bits):
    bytes_each = bits / 8
    return bytes_each * parameters * 10**-9
