"""Leans on recursion, on one function for another, on objects and exact ratios.
"""

# %% nbgrader={"grade": false, "grade_id": "bits-per-weight", "locked": false, "schema_version": 3, "solution": true, "task": false}
def _with_share(own, members=None, shared=0):
    return own if members is None else own + shared / members


def bits_per_weight(
    bits, group=None, scale_bits=0, zero_bits=0, scale_group=None, second_bits=0
):
    a_scale = _with_share(scale_bits, scale_group, second_bits)
    return float(_with_share(bits, group, a_scale + zero_bits))


# %% nbgrader={"grade": false, "grade_id": "parameters", "locked": false, "schema_version": 3, "solution": true, "task": false}
def count_parameters(config):
    get = config.get
    hidden, layers = get("hidden_size"), get("num_hidden_layers")
    head_dim = get("head_dim") or get("hidden_size") // get("num_attention_heads")
    q_out = head_dim * get("num_attention_heads")
    k_out = head_dim * get("num_key_value_heads")
    outputs = {"q": q_out, "k": k_out, "v": k_out, "o": hidden}
    has_bias = {"qwen2": "qkv"}.get(get("model_type"), "qkvo" if get("attention_bias") else "")
    table = get("vocab_size") * hidden
    mlp = 3 * get("intermediate_size") * hidden
    if "num_local_experts" in config:
        mlp = get("num_local_experts") * (mlp + hidden)
    return dict(
        embedding=table,
        attention=layers * hidden * 2 * (q_out + k_out),
        mlp=layers * mlp,
        norms=hidden + layers * 2 * hidden,
        biases=layers * sum(map(outputs.get, has_bias)),
        head=table * (not get("tie_word_embeddings")),
    )


def active_parameters(config):
    if "num_local_experts" not in config:
        return sum(count_parameters(config).values())
    met = config["num_experts_per_tok"]
    smaller = {**config, "num_local_experts": met}
    missing_rows = (config["num_local_experts"] - met) * config["hidden_size"]
    return sum(count_parameters(smaller).values()) + missing_rows * config["num_hidden_layers"]


# %% nbgrader={"grade": false, "grade_id": "weight-bytes", "locked": false, "schema_version": 3, "solution": true, "task": false}
import numpy as np


def weight_bytes(parts, bits, rest_bits=16):
    names = ("embedding", "attention", "mlp", "norms", "biases", "head")
    counts = np.array([parts[name] for name in names], dtype=object)
    widths = np.array([rest_bits, bits, bits, rest_bits, rest_bits, rest_bits], dtype=object)
    total = counts.dot(widths)
    whole = int(total // 8)
    return whole if whole * 8 == total else whole + 1


# %% nbgrader={"grade": false, "grade_id": "kv-bytes", "locked": false, "schema_version": 3, "solution": true, "task": false}
class _Shape:
    def __init__(self, config):
        self.config = dict(config)

    @property
    def head_dim(self):
        given = self.config.get("head_dim")
        if isinstance(given, (int, float)):
            return int(given)
        return self.config["hidden_size"] // self.config["num_attention_heads"]

    @property
    def window(self):
        if self.config.get("use_sliding_window", True) is False:
            return None
        return self.config.get("sliding_window")

    def numbers(self, tokens):
        kept = tokens if self.window is None else min(tokens, self.window)
        heads = self.config["num_hidden_layers"] * self.config["num_key_value_heads"]
        return 2 * heads * self.head_dim * kept


def kv_bytes(config, tokens, batch=1, bits=16):
    total = _Shape(config).numbers(tokens) * batch * bits
    return int((total + 8 - (total % 8 or 8)) // 8)


# %% nbgrader={"grade": false, "grade_id": "cards-needed", "locked": false, "schema_version": 3, "solution": true, "task": false}
def cards_needed(weights, kv, card, reserve=2_000_000_000):
    room = card - reserve
    if room <= 0:
        raise ValueError("no room")

    def count(need):
        if need <= room:
            return 1
        step = 1
        while need > 2 * step * room:
            step *= 2
        return step + count(need - step * room)

    return count(weights + kv)


# %% nbgrader={"grade": false, "grade_id": "largest", "locked": false, "schema_version": 3, "solution": true, "task": false}
def largest_batch(weights, kv_per_token, context, card, cards=1, reserve=2_000_000_000):
    left = cards * (card - reserve) - weights
    if left < 0:
        return 0
    return left // kv_per_token // context


def largest_context(
    weights, kv_per_token, batch, card, cards=1, reserve=2_000_000_000, limit=None
):
    longest = largest_batch(
        weights, kv_per_token, context=batch, card=card, cards=cards, reserve=reserve
    )
    return min(x for x in (longest, limit) if x is not None)


# %% nbgrader={"grade": false, "grade_id": "roofline", "locked": false, "schema_version": 3, "solution": true, "task": false}
def intensity(parameters, weights, tokens, kv=0):
    return float(2.0 * parameters * tokens / (weights + kv))


def fastest_step(parameters, weights, tokens, kv, bandwidth, flops):
    work = 2.0 * parameters * tokens
    if weights + kv == 0:
        return work / flops
    ridge = flops / bandwidth
    if intensity(parameters, weights, tokens, kv) >= ridge:
        return work / flops
    return (weights + kv) / float(bandwidth)


# %% nbgrader={"grade": false, "grade_id": "break-even", "locked": false, "schema_version": 3, "solution": true, "task": false}
from fractions import Fraction


def break_even_batch(parameters, weights, kv_per_sequence, bandwidth, flops):
    exact = [Fraction(x) for x in (parameters, weights, kv_per_sequence, bandwidth, flops)]
    p, w, kv, bw, f = exact

    def enough(b):
        return 2 * p * b / f >= (w + b * kv) / bw

    per_sequence = 2 * p / f - kv / bw
    if per_sequence <= 0:
        return None
    batch = max(1, round(w / bw / per_sequence))
    while batch > 1 and enough(batch - 1):
        batch -= 1
    while not enough(batch):
        batch += 1
    return batch
