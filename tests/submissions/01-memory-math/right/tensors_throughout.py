"""Computes in torch and returns tensors of one number.
"""

# %% nbgrader={"grade": false, "grade_id": "bits-per-weight", "locked": false, "schema_version": 3, "solution": true, "task": false}
def bits_per_weight(bits, group=None, scale_bits=0, zero_bits=0, scale_group=None, second_bits=0):
    total = torch.tensor(bits, dtype=torch.float32)
    if group is not None:
        scale = torch.tensor(scale_bits, dtype=torch.float32)
        if scale_group is not None:
            scale = scale + second_bits / scale_group
        total = total + (scale + zero_bits) / group
    return total


# %% nbgrader={"grade": false, "grade_id": "parameters", "locked": false, "schema_version": 3, "solution": true, "task": false}
def count_parameters(config):
    h, L = config["hidden_size"], config["num_hidden_layers"]
    d = config.get("head_dim") or h // config["num_attention_heads"]
    q, kv = config["num_attention_heads"] * d, config["num_key_value_heads"] * d
    meta = lambda *shape: torch.empty(shape, device="meta").numel()  # a shape without memory
    n = lambda number: torch.tensor(number, dtype=torch.int64)
    gated = meta(3, config["intermediate_size"], h)
    if (experts := config.get("num_local_experts")) is not None:
        gated = experts * gated + meta(experts, h)
    bias = 0
    if config["model_type"] == "qwen2" or config.get("attention_bias") is True:
        bias = q + kv + kv + (h if config.get("attention_bias") else 0)
    return {
        "head": n(meta(config["vocab_size"], h) * (1 - int(config["tie_word_embeddings"]))),
        "biases": n(bias * L),
        "norms": n(meta(L, 2, h) + h),
        "mlp": n(gated * L),
        "attention": n(L * (meta(q, h) + meta(2, kv, h) + meta(h, q))),
        "embedding": n(meta(config["vocab_size"], h)),
    }


def active_parameters(config):
    parts = count_parameters(config)
    if "num_local_experts" in config:
        router = config["num_hidden_layers"] * config["num_local_experts"] * config["hidden_size"]
        share = (parts["mlp"] - router) // config["num_local_experts"] * config["num_experts_per_tok"]
        parts["mlp"] = share + router
    return sum(parts.values())


# %% nbgrader={"grade": false, "grade_id": "weight-bytes", "locked": false, "schema_version": 3, "solution": true, "task": false}
def weight_bytes(parts, bits, rest_bits=16):
    parts = {part: torch.as_tensor(size, dtype=torch.float64) for part, size in parts.items()}
    matrices = parts.pop("attention") + parts.pop("mlp")
    return torch.ceil((matrices * bits + torch.stack(list(parts.values())).sum() * rest_bits) / 8).long()


# %% nbgrader={"grade": false, "grade_id": "kv-bytes", "locked": false, "schema_version": 3, "solution": true, "task": false}
def kv_bytes(config, tokens, batch=1, bits=16):
    d = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    kept = torch.tensor(tokens)
    if config.get("sliding_window") is not None and config.get("use_sliding_window", True):
        kept = kept.clamp(max=config["sliding_window"])
    token = 2 * config["num_hidden_layers"] * config["num_key_value_heads"] * d
    return torch.ceil((kept * batch * token).double() * bits / 8)


# %% nbgrader={"grade": false, "grade_id": "cards-needed", "locked": false, "schema_version": 3, "solution": true, "task": false}
def cards_needed(weights, kv, card, reserve=2_000_000_000):
    room = torch.tensor(card - reserve)
    if room <= 0:
        raise ValueError("no room")
    need = torch.tensor(weights + kv)
    return torch.div(need + room - 1, room, rounding_mode="floor").clamp(min=1)


# %% nbgrader={"grade": false, "grade_id": "largest", "locked": false, "schema_version": 3, "solution": true, "task": false}
def largest_batch(weights, kv_per_token, context, card, cards=1, reserve=2_000_000_000):
    room = torch.tensor(cards * (card - reserve) - weights)
    return torch.div(room, kv_per_token * context, rounding_mode="floor").clamp(min=0)


def largest_context(weights, kv_per_token, batch, card, cards=1, reserve=2_000_000_000, limit=None):
    room = torch.tensor(cards * (card - reserve) - weights).relu()
    return torch.div(room, kv_per_token * batch, rounding_mode="floor").clamp(max=limit) if limit else room // (batch * kv_per_token)


# %% nbgrader={"grade": false, "grade_id": "roofline", "locked": false, "schema_version": 3, "solution": true, "task": false}
def intensity(parameters, weights, tokens, kv=0):
    return torch.tensor(2.0 * parameters * tokens).double() / (weights + kv)


def fastest_step(parameters, weights, tokens, kv, bandwidth, flops):
    reading = torch.tensor((weights + kv) / bandwidth, dtype=torch.float64)
    return torch.maximum(reading, torch.tensor(2 * parameters * tokens / flops, dtype=torch.float64))


# %% nbgrader={"grade": false, "grade_id": "break-even", "locked": false, "schema_version": 3, "solution": true, "task": false}
def break_even_batch(parameters, weights, kv_per_sequence, bandwidth, flops):
    slope = torch.tensor(2.0 * parameters * bandwidth, dtype=torch.float64) - float(kv_per_sequence) * flops
    return torch.ceil(float(weights) * flops / slope).long() if slope > 0 else None
