"""Computes in NumPy and returns NumPy's numbers and arrays.
"""

# %% nbgrader={"grade": false, "grade_id": "bits-per-weight", "locked": false, "schema_version": 3, "solution": true, "task": false}
import numpy as np


def bits_per_weight(bits, group=np.inf, scale_bits=0, zero_bits=0, scale_group=np.inf, second_bits=0):
    group = np.inf if group is None else group
    scale_group = np.inf if scale_group is None else scale_group
    return np.dot([bits, scale_bits, zero_bits, second_bits], [1, 1 / group, 1 / group, 1 / group / scale_group])


# %% nbgrader={"grade": false, "grade_id": "parameters", "locked": false, "schema_version": 3, "solution": true, "task": false}
from collections import Counter


def count_parameters(config):
    h, layers = np.int64(config["hidden_size"]), np.int64(config["num_hidden_layers"])
    d = np.int64(config.get("head_dim") or h // config["num_attention_heads"])
    heads = np.array([config["num_attention_heads"], config["num_key_value_heads"], config["num_key_value_heads"]])
    outputs = np.append(heads * d, h)  # q, k, v, o
    biased = np.ones(4) if config.get("attention_bias") else np.array([1, 1, 1, 0]) * (config["model_type"] == "qwen2")
    experts = config.get("num_local_experts", 0)
    table = np.int64(config["vocab_size"]) * h
    counter = Counter({"embedding": table, "head": table * (not config["tie_word_embeddings"])})
    counter["attention"] = layers * (np.sum(outputs[:3]) + outputs[0]) * h
    counter["mlp"] = layers * h * (3 * max(experts, 1) * np.int64(config["intermediate_size"]) + experts)
    counter["norms"] = h + layers * h + layers * h
    counter["biases"] = np.int64(layers * (outputs @ biased))
    return counter


def active_parameters(config):
    total = np.sum(list(count_parameters(config).values()))
    idle = config.get("num_local_experts", 0) - config.get("num_experts_per_tok", 0)
    return total - np.prod([idle, 3, config["num_hidden_layers"], config["hidden_size"], config["intermediate_size"]])


# %% nbgrader={"grade": false, "grade_id": "weight-bytes", "locked": false, "schema_version": 3, "solution": true, "task": false}
def weight_bytes(parts, bits, rest_bits=16):
    sizes = np.array(list(parts.values()), dtype=np.float64)
    widths = np.where(np.isin(list(parts), ["attention", "mlp"]), bits, rest_bits)
    return np.ceil(sizes @ widths / 8)


# %% nbgrader={"grade": false, "grade_id": "kv-bytes", "locked": false, "schema_version": 3, "solution": true, "task": false}
def kv_bytes(config, tokens, batch=1, bits=16):
    d = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    used = config.get("use_sliding_window") is not False
    window = config.get("sliding_window") if used else None
    kept = np.minimum(tokens, np.inf if window is None else window)
    return np.ceil(np.prod([2, config["num_hidden_layers"], config["num_key_value_heads"], d, kept, batch, bits / 8]))


# %% nbgrader={"grade": false, "grade_id": "cards-needed", "locked": false, "schema_version": 3, "solution": true, "task": false}
def cards_needed(weights, kv, card, reserve=2_000_000_000):
    if not card > reserve:
        raise ValueError(card)
    return np.maximum(1, np.ceil(np.float64(weights + kv) / (card - reserve))).astype(int)


# %% nbgrader={"grade": false, "grade_id": "largest", "locked": false, "schema_version": 3, "solution": true, "task": false}
def largest_batch(weights, kv_per_token, context, card, cards=1, reserve=2_000_000_000):
    return np.clip(np.floor_divide(cards * card - cards * reserve - weights, kv_per_token * context), 0, None)


def largest_context(weights, kv_per_token, batch, card, cards=1, reserve=2_000_000_000, limit=None):
    limit = np.inf if limit is None else limit
    return np.clip((cards * card - cards * reserve - weights) // batch // kv_per_token, 0, limit)


# %% nbgrader={"grade": false, "grade_id": "roofline", "locked": false, "schema_version": 3, "solution": true, "task": false}
def intensity(parameters, weights, tokens, kv=0):
    return np.float32(2.0 * parameters * tokens / np.add(weights, kv))


def fastest_step(parameters, weights, tokens, kv, bandwidth, flops):
    times = np.array([weights + kv, 2 * parameters * tokens]) / np.array([bandwidth, flops])
    return times.max()


# %% nbgrader={"grade": false, "grade_id": "break-even", "locked": false, "schema_version": 3, "solution": true, "task": false}
def break_even_batch(parameters, weights, kv_per_sequence, bandwidth, flops):
    gain = np.float64(2 * parameters) * bandwidth - np.float64(kv_per_sequence) * flops
    return None if gain <= 0 else int(np.ceil(np.multiply(weights, flops) / gain))
