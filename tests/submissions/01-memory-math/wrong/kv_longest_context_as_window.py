"""Cuts every text at the model's longest context.

loses: kv-bytes-test
"""

# %% nbgrader={"grade": false, "grade_id": "kv-bytes", "locked": false, "schema_version": 3, "solution": true, "task": false}
def kv_bytes(config, tokens, batch=1, bits=16):
    head_dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    if config.get("sliding_window") and config.get("use_sliding_window", True):
        tokens = min(tokens, config["sliding_window"])
    tokens = min(tokens, config["max_position_embeddings"])
    numbers = 2 * config["num_hidden_layers"] * config["num_key_value_heads"] * head_dim
    return math.ceil(numbers * tokens * batch * bits / 8)
