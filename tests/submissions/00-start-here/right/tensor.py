"""Computes with a tensor of one element and returns it.
"""

# %% nbgrader={"grade": false, "grade_id": "weight-gigabytes", "locked": false, "schema_version": 3, "solution": true, "task": false}
def weight_gigabytes(parameters, bits):
    import torch

    return torch.tensor(parameters, dtype=torch.float64) * bits / 8e9
