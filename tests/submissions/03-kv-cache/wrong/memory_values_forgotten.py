"""Counts the keys and forgets the values.

loses: memory-test
"""

# %% nbgrader={"grade": false, "grade_id": "memory", "locked": false, "schema_version": 3, "solution": true, "task": false}
def kv_cache_bytes(layers, heads, kv_heads, head_dim, tokens, batch=1, bytes_per_value=2):
    return layers * kv_heads * head_dim * tokens * batch * bytes_per_value
