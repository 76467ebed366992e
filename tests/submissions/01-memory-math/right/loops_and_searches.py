"""Counts piece by piece and searches for answers step by step, without any formula.
"""

# %% nbgrader={"grade": false, "grade_id": "bits-per-weight", "locked": false, "schema_version": 3, "solution": true, "task": false}
def bits_per_weight(bits, group=None, scale_bits=0, zero_bits=0, scale_group=None, second_bits=0):
    if not group:
        return bits
    # One super-group: as many groups as share a second-level scale.
    groups = scale_group or 1
    stored = 0
    for _ in range(groups):
        stored += group * bits + scale_bits + zero_bits
    if scale_group:
        stored += second_bits
    return stored / (groups * group)


# %% nbgrader={"grade": false, "grade_id": "parameters", "locked": false, "schema_version": 3, "solution": true, "task": false}
def shapes(config):
    """All tensors: (part, shape)."""
    h, v = config["hidden_size"], config["vocab_size"]
    d = config["head_dim"] if config.get("head_dim") is not None else h // config["num_attention_heads"]
    q, kv = config["num_attention_heads"] * d, config["num_key_value_heads"] * d
    with_bias = []
    if config.get("attention_bias", False):
        with_bias = ["q", "k", "v", "o"]
    elif config["model_type"] == "qwen2":
        with_bias = ["q", "k", "v"]
    yield "embedding", (v, h)
    for _ in range(config["num_hidden_layers"]):
        for name, out, into in (("q", q, h), ("k", kv, h), ("v", kv, h), ("o", h, q)):
            yield "attention", (out, into)
            if name in with_bias:
                yield "biases", (out,)
        if "num_local_experts" in config:
            yield "mlp", (config["num_local_experts"], h)
        for _ in range(config.get("num_local_experts", 1)):
            yield "mlp", (config["intermediate_size"], h)
            yield "mlp", (config["intermediate_size"], h)
            yield "mlp", (h, config["intermediate_size"])
        yield "norms", (h,)
        yield "norms", (h,)
    yield "norms", (h,)
    if not config["tie_word_embeddings"]:
        yield "head", (v, h)


def count_parameters(config):
    counted = {"embedding": 0, "attention": 0, "mlp": 0, "norms": 0, "biases": 0, "head": 0}
    for part, shape in shapes(config):
        size = 1
        for side in shape:
            size *= side
        counted[part] += size
    return counted


def active_parameters(config):
    if "num_local_experts" not in config:
        return sum(count_parameters(config).values())
    # A dense model with as many experts as a token meets, and the routers' missing rows.
    few = dict(config)
    few["num_local_experts"] = config["num_experts_per_tok"]
    rows = config["num_local_experts"] - config["num_experts_per_tok"]
    return sum(count_parameters(few).values()) + config["num_hidden_layers"] * rows * config["hidden_size"]


# %% nbgrader={"grade": false, "grade_id": "weight-bytes", "locked": false, "schema_version": 3, "solution": true, "task": false}
def weight_bytes(parts, bits, rest_bits=16):
    all_bits = 0
    for part, size in parts.items():
        all_bits += size * (bits if part in ("attention", "mlp") else rest_bits)
    full = int(all_bits // 8)
    return full if full * 8 == all_bits else full + 1


# %% nbgrader={"grade": false, "grade_id": "kv-bytes", "locked": false, "schema_version": 3, "solution": true, "task": false}
def kv_bytes(config, tokens, batch=1, bits=16):
    head_dim = config.get("head_dim")
    if head_dim is None:
        head_dim = config["hidden_size"] // config["num_attention_heads"]
    window = config.get("sliding_window")
    if "use_sliding_window" in config and not config["use_sliding_window"]:
        window = None
    if window is not None and tokens > window:
        tokens = window
    all_bits = 0
    for _ in range(config["num_hidden_layers"]):
        for _ in ("keys", "values"):
            all_bits += batch * tokens * config["num_key_value_heads"] * head_dim * bits
    full = int(all_bits // 8)
    return full if full * 8 == all_bits else full + 1


# %% nbgrader={"grade": false, "grade_id": "cards-needed", "locked": false, "schema_version": 3, "solution": true, "task": false}
def cards_needed(weights, kv, card, reserve=2_000_000_000):
    if reserve >= card:
        raise ValueError("nothing left")
    cards = 1
    while cards * (card - reserve) < weights + kv:
        cards += 1
    return cards


# %% nbgrader={"grade": false, "grade_id": "largest", "locked": false, "schema_version": 3, "solution": true, "task": false}
def fits(weights, kv, card, cards, reserve):
    return weights + kv <= cards * (card - reserve)


def largest_batch(weights, kv_per_token, context, card, cards=1, reserve=2_000_000_000):
    batch = 0
    while fits(weights, (batch + 1) * kv_per_token * context, card, cards, reserve):
        batch += 1
    return batch


def largest_context(weights, kv_per_token, batch, card, cards=1, reserve=2_000_000_000, limit=None):
    tokens = 0
    while fits(weights, (tokens + 1) * kv_per_token * batch, card, cards, reserve) and tokens != limit:
        tokens += 1
    return tokens


# %% nbgrader={"grade": false, "grade_id": "roofline", "locked": false, "schema_version": 3, "solution": true, "task": false}
def intensity(parameters, weights, tokens, kv=0):
    operations = 0
    for _ in range(tokens):
        operations += parameters + parameters
    return operations / (weights + kv)


def fastest_step(parameters, weights, tokens, kv, bandwidth, flops):
    read = weights / bandwidth + kv / bandwidth
    compute = 2 * parameters / flops * tokens
    if read > compute:
        return read
    return compute


# %% nbgrader={"grade": false, "grade_id": "break-even", "locked": false, "schema_version": 3, "solution": true, "task": false}
def break_even_batch(parameters, weights, kv_per_sequence, bandwidth, flops):
    if kv_per_sequence / bandwidth >= 2 * parameters / flops:
        return None
    batch = 1
    while (weights + batch * kv_per_sequence) * flops > 2 * parameters * batch * bandwidth:
        batch += 1
    return batch
