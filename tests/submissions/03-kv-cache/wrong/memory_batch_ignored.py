"""Forgets that every sequence of a batch has keys and values of its own.

loses: memory-test
"""

# %% nbgrader={"grade": false, "grade_id": "memory", "locked": false, "schema_version": 3, "solution": true, "task": false}
def kv_cache_bytes(layers, heads, kv_heads, head_dim, tokens, batch=1, bytes_per_value=2):

    """Bytes that the keys and values of a batch of sequences take."""
    per_layer = 2 * kv_heads * head_dim * tokens * bytes_per_value
    return layers * per_layer
