"""The same arithmetic in another order: fractions, ratios of the machine, one helper for many questions.
"""

# %% nbgrader={"grade": false, "grade_id": "bits-per-weight", "locked": false, "schema_version": 3, "solution": true, "task": false}
from fractions import Fraction


def bits_per_weight(bits, group=None, scale_bits=0, zero_bits=0, scale_group=None, second_bits=0):
    beside = Fraction(scale_bits + zero_bits) + (Fraction(second_bits, scale_group) if scale_group else 0)
    return float(bits + (beside / group if group else 0))


# %% nbgrader={"grade": false, "grade_id": "parameters", "locked": false, "schema_version": 3, "solution": true, "task": false}
def layer(config):
    """Matrices, MLP's expert, router and biases of one layer."""
    h = config["hidden_size"]
    d = h // config["num_attention_heads"]
    if config.get("head_dim"):
        d = config["head_dim"]
    group = config["num_attention_heads"] // config["num_key_value_heads"]
    q = config["num_attention_heads"] * d
    attention = 2 * q * h + 2 * q * h // group
    biases = {(True, True): 1, (True, False): 1, (False, True): 0}.get((bool(config.get("attention_bias")), config["model_type"] == "qwen2"))
    if biases is None:
        bias = 0
    else:
        bias = q + 2 * q // group + biases * h
    return attention, 3 * h * config["intermediate_size"], config.get("num_local_experts", 0) * h, bias


def count_parameters(config):
    attention, expert, router, bias = (config["num_hidden_layers"] * number for number in layer(config))
    table = config["vocab_size"] * config["hidden_size"]
    return dict(
        embedding=table,
        attention=attention,
        mlp=expert * config.get("num_local_experts", 1) + router,
        norms=config["hidden_size"] * (1 + 2 * config["num_hidden_layers"]),
        biases=bias,
        head=table if config["tie_word_embeddings"] is False else 0,
    )


def active_parameters(config):
    parts = count_parameters(config)
    if "num_local_experts" not in config:
        return float(sum(parts.values()))
    _, expert, router, _ = layer(config)
    parts["mlp"] = config["num_hidden_layers"] * (expert * config["num_experts_per_tok"] + router)
    return float(sum(parts.values()))


# %% nbgrader={"grade": false, "grade_id": "weight-bytes", "locked": false, "schema_version": 3, "solution": true, "task": false}
def weight_bytes(parts, bits, rest_bits=16):
    total = sum(parts.values())
    saved = (parts["attention"] + parts["mlp"]) * (rest_bits - bits)
    return -int(-(total * rest_bits - saved) // 8)


# %% nbgrader={"grade": false, "grade_id": "kv-bytes", "locked": false, "schema_version": 3, "solution": true, "task": false}
def kv_bytes(config, tokens, batch=1, bits=16):
    windows = [tokens]
    if config.get("use_sliding_window", True) and config.get("sliding_window"):
        windows.append(config["sliding_window"])
    d = config.get("head_dim") or config["hidden_size"] / config["num_attention_heads"]
    a_token = d * config["num_key_value_heads"] * config["num_hidden_layers"] * bits / 4
    return -int(-a_token * min(windows) * batch // 1)


# %% nbgrader={"grade": false, "grade_id": "cards-needed", "locked": false, "schema_version": 3, "solution": true, "task": false}
def cards_needed(weights, kv, card, reserve=2_000_000_000):
    if card - reserve < 1:
        raise ValueError("the reserve is all of the card")
    full, rest = divmod(weights + kv, card - reserve)
    return max(full + bool(rest), 1)


# %% nbgrader={"grade": false, "grade_id": "largest", "locked": false, "schema_version": 3, "solution": true, "task": false}
def tokens_that_fit(weights, kv_per_token, card, cards, reserve):
    free = cards * card - cards * reserve - weights
    return int(free / kv_per_token) if free > 0 else 0


def largest_batch(weights, kv_per_token, context, card, cards=1, reserve=2_000_000_000):
    return tokens_that_fit(weights, kv_per_token, card, cards, reserve) // context


def largest_context(weights, kv_per_token, batch, card, cards=1, reserve=2_000_000_000, limit=None):
    tokens = tokens_that_fit(weights, kv_per_token, card, cards, reserve) // batch
    return min([tokens] + ([] if limit is None else [limit]))


# %% nbgrader={"grade": false, "grade_id": "roofline", "locked": false, "schema_version": 3, "solution": true, "task": false}
def intensity(parameters, weights, tokens, kv=0):
    return 2 * tokens * (parameters / (weights + kv))


def fastest_step(parameters, weights, tokens, kv, bandwidth, flops):
    ridge = flops / bandwidth  # FLOPs per byte at the roof's corner
    return (weights + kv) / bandwidth * max(1, intensity(parameters, weights, tokens, kv) / ridge)


# %% nbgrader={"grade": false, "grade_id": "break-even", "locked": false, "schema_version": 3, "solution": true, "task": false}
def break_even_batch(parameters, weights, kv_per_sequence, bandwidth, flops):
    from fractions import Fraction

    ridge = Fraction(flops) / Fraction(bandwidth)  # FLOPs per byte at the roof's corner
    left = 2 * parameters - ridge * kv_per_sequence
    if left <= 0:
        return None
    return int(-(-ridge * weights // left))
