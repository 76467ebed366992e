"""Makes q's bias hidden_size long, which it is unless the config brings a head_dim of its own.

loses: parameters-test
"""

# %% nbgrader={"grade": false, "grade_id": "parameters", "locked": false, "schema_version": 3, "solution": true, "task": false}
def count_parameters(config):
    hidden, layers = config["hidden_size"], config["num_hidden_layers"]
    head_dim = config.get("head_dim") or hidden // config["num_attention_heads"]
    queries = config["num_attention_heads"] * head_dim
    keys = config["num_key_value_heads"] * head_dim
    mlp = 3 * hidden * config["intermediate_size"]
    if experts := config.get("num_local_experts"):
        mlp = experts * mlp + experts * hidden
    bias = 0
    if config.get("attention_bias") or config["model_type"] == "qwen2":
        bias = hidden + 2 * keys
    if config.get("attention_bias"):
        bias += hidden
    embedding = config["vocab_size"] * hidden
    return {
        "embedding": embedding,
        "attention": layers * 2 * hidden * (queries + keys),
        "mlp": layers * mlp,
        "norms": (2 * layers + 1) * hidden,
        "biases": layers * bias,
        "head": 0 if config["tie_word_embeddings"] else embedding,
    }


def active_parameters(config):
    total = sum(count_parameters(config).values())
    if "num_local_experts" not in config:
        return total
    idle = config["num_local_experts"] - config["num_experts_per_tok"]
    expert = 3 * config["hidden_size"] * config["intermediate_size"]
    return total - config["num_hidden_layers"] * idle * expert
