"""Adds the double quantization to the float32 absmax values.

loses: quantized-bytes-test
"""

# %% nbgrader={"grade": false, "grade_id": "quantized-bytes", "locked": false, "schema_version": 3, "solution": true, "task": false}
def quantized_bytes(numbers, bits=4, group_size=64, double_quant=False):
    codes = -(-numbers * bits // 8)
    groups = -(-numbers // group_size)
    if not double_quant:
        return codes + 4 * groups
    return codes + 5 * groups + 4 * -(-groups // 256) + 4
