"""Reads the weights again for each token.

loses: roofline-test
"""

# %% nbgrader={"grade": false, "grade_id": "roofline", "locked": false, "schema_version": 3, "solution": true, "task": false}
def intensity(parameters, weights, tokens, kv=0):
    return 2 * parameters * tokens / (weights * tokens + kv)


def fastest_step(parameters, weights, tokens, kv, bandwidth, flops):
    reading = (weights + kv) / bandwidth
    computing = 2 * parameters * tokens / flops
    return max(reading, computing)
