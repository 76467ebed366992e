"""Counts an attention matrix of tokens x tokens per head instead of keys and values.

loses: memory-test
"""

# %% nbgrader={"grade": false, "grade_id": "memory", "locked": false, "schema_version": 3, "solution": true, "task": false}
def kv_cache_bytes(layers, heads, kv_heads, head_dim, tokens, batch=1, bytes_per_value=2):

    scores = layers * heads * tokens * tokens
    return scores * batch * bytes_per_value
