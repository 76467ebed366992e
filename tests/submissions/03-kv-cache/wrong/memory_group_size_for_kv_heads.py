"""Takes heads // kv_heads, the queries of a group, for the number of stored heads.

loses: memory-test
"""

# %% nbgrader={"grade": false, "grade_id": "memory", "locked": false, "schema_version": 3, "solution": true, "task": false}
def kv_cache_bytes(layers, heads, kv_heads, head_dim, tokens, batch=1, bytes_per_value=2):

    groups = heads // kv_heads
    per_token = 2 * layers * groups * head_dim * bytes_per_value
    return per_token * tokens * batch
