"""Forgets that each sequence has a KV cache to be read.

loses: break-even-test
"""

# %% nbgrader={"grade": false, "grade_id": "break-even", "locked": false, "schema_version": 3, "solution": true, "task": false}
def break_even_batch(parameters, weights, kv_per_sequence, bandwidth, flops):
    # 2 P b / flops >= (W + b K) / bandwidth, multiplied by both
    gain = 2 * parameters * bandwidth
    if gain <= 0:
        return None
    return max(1, math.ceil(weights * flops / gain))
