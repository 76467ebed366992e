"""Returns a NumPy number.
"""

# %% nbgrader={"grade": false, "grade_id": "weight-gigabytes", "locked": false, "schema_version": 3, "solution": true, "task": false}
def weight_gigabytes(parameters, bits):
    import numpy as np

    return np.float32(parameters / 1e9) * np.float32(bits) / np.float32(8)
