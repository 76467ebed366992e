"""Short lines, comprehensions and library functions."""

# %% nbgrader={"grade": false, "grade_id": "device-fit", "locked": false, "schema_version": 3, "solution": true, "task": false}
def fit(model, device, tokens):
    kv = 2 * tokens * math.prod(model[key] for key in ("layers", "kv_heads", "head_dim", "kv_bytes"))
    need = sum((model["file"], kv, device["runtime"]))
    space = math.inf if device["address_space"] is None else device["address_space"]
    if need > space:
        verdict = "no"
    elif need <= device["memory"]:
        verdict = "fits"
    elif device["mapped"] and need - model["file"] <= device["memory"]:
        verdict = "slow"
    else:
        verdict = "no"
    return need, verdict


def longest(model, device):
    room = device["memory"]
    if device["address_space"] is not None:
        room = min(room, device["address_space"])
    room -= fit(model, device, 0)[0]
    if room < 0:
        raise ValueError("too small")
    return room // (fit(model, device, 1)[0] - fit(model, device, 0)[0])


def pieces(rows, row_bytes, limit):
    each, rest = divmod(limit, row_bytes)
    if not each:
        raise ValueError("a row is too large")
    return len(range(0, rows, each))
# %% nbgrader={"grade": false, "grade_id": "shards", "locked": false, "schema_version": 3, "solution": true, "task": false}
def shards(tensors, limit):
    if any(size > limit for _, size in tensors):
        raise ValueError("too large")
    result, room = [], -1
    for name, size in tensors:
        if size > room or not result:
            result.append([])
            room = limit
        result[-1].append(name)
        room -= size
    return result
# %% nbgrader={"grade": false, "grade_id": "sink-cache", "locked": false, "schema_version": 3, "solution": true, "task": false}
from collections import deque

from fridge.models.llama import rope_table, rotate


class SinkCache:
    def __init__(self, sinks, window):
        self.first, self.sinks, self.last = [], sinks, deque(maxlen=window)

    def __len__(self):
        return len(self.first) + len(self.last)

    def add(self, k, v):
        (self.first if len(self.first) < self.sinks else self.last).append((k, v))

    def attend(self, q, inv_freq):
        held = [*self.first, *self.last]
        if not held:
            raise ValueError("empty")
        k = torch.stack([one for one, _ in held], dim=1)
        v = torch.stack([one for _, one in held], dim=1)
        cos, sin = rope_table(torch.arange(len(held)), inv_freq, torch.float32)
        q = rotate(q[:, None], cos[-1:], sin[-1:])
        return F.scaled_dot_product_attention(q[None], rotate(k, cos, sin)[None], v[None], enable_gqa=True)[0, :, 0]
# %% nbgrader={"grade": false, "grade_id": "arena", "locked": false, "schema_version": 3, "solution": true, "task": false}
def plan(ops, sizes, outputs, alignment):
    order = {op["name"]: i for i, op in enumerate(ops)}
    ends = {
        name: len(ops) if name in outputs else max([i, *(j for j, op in enumerate(ops) if name in op["of"])])
        for name, i in order.items()
    }
    up = lambda size: (size + alignment - 1) // alignment * alignment
    offsets = {}
    for name in sorted(order, key=lambda name: sizes[name], reverse=True):
        near = [other for other in offsets if order[other] <= ends[name] and ends[other] >= order[name]]
        spots = sorted([0, *(up(offsets[other] + sizes[other]) for other in near)])
        offsets[name] = next(
            spot
            for spot in spots
            if all(spot + sizes[name] <= offsets[other] or spot >= offsets[other] + sizes[other] for other in near)
        )
    return offsets
# %% nbgrader={"grade": false, "grade_id": "static-step", "locked": false, "schema_version": 3, "solution": true, "task": false}
from fridge.fusion import exporting


def attend_step(q, k, v, keys, values, position, inv_freq):
    cos, sin = rope_table(position, inv_freq, torch.float32)
    keys = keys.index_copy(1, position, rotate(k[:, None], cos, sin))
    values = values.index_copy(1, position, v[:, None])
    each = q.shape[0] // k.shape[0]
    wide_keys, wide_values = keys.repeat_interleave(each, 0), values.repeat_interleave(each, 0)
    scores = (rotate(q[:, None], cos, sin) @ wide_keys.transpose(1, 2)) / math.sqrt(q.shape[1])
    hidden = torch.arange(keys.shape[1]) > position
    weights = scores.masked_fill(hidden, -torch.inf).softmax(-1)
    return (weights @ wide_values)[:, 0], keys, values


def exported(heads, kv_heads, head_dim, places):
    return exporting.program(attend_step, exporting.attention_inputs(heads, kv_heads, head_dim, places))
# %% nbgrader={"grade": false, "grade_id": "int8-product", "locked": false, "schema_version": 3, "solution": true, "task": false}
def int8_product(x, weight, scale):
    s = x.abs().max(dim=1, keepdim=True).values / 127
    codes = (x / s).nan_to_num(0.0).round().clamp(-127, 127)
    sums = codes.double() @ weight.double().T
    return (sums * s * scale).float()
# %% nbgrader={"grade": false, "grade_id": "rates", "locked": false, "schema_version": 3, "solution": true, "task": false}
def tokens_per_second(bytes_read, flops, bandwidth, speed):
    return min(bandwidth / bytes_read, speed / flops)


def tokens_per_charge(rate, watt_hours, watts, burst, throttled):
    seconds = watt_hours * 3600 / watts
    if seconds <= burst:
        return rate * seconds
    return rate * burst + throttled * rate * (seconds - burst)


def crossing(local_rate, remote_rate, round_trip):
    if remote_rate <= local_rate:
        return None
    n = 1
    while n / local_rate <= round_trip + n / remote_rate:
        n += 1
    return n
# %% nbgrader={"grade": false, "grade_id": "choose", "locked": false, "schema_version": 3, "solution": true, "task": false}
def choose(scenario, candidates):
    left = [c for c in candidates if c["memory"] <= scenario["memory"]]
    left = [c for c in left if c["users"] >= scenario["users"]]
    left = [c for c in left if c["local"] or not scenario["private"]]
    left = [c for c in left if c["first_token"] <= scenario["first_token"]]
    left = [c for c in left if c["licence"] in scenario["licences"]]
    vector = lambda c: (c["quality"], c["speed"], -c["memory"])
    front = []
    for c in left:
        beaten = False
        for d in left:
            if vector(c) != vector(d) and all(b >= a for a, b in zip(vector(c), vector(d))):
                beaten = True
        if not beaten:
            front.append(c)
    if not front:
        return [], None
    limit = scenario["enough"] * max(c["quality"] for c in front)
    good = sorted((c for c in front if c["quality"] >= limit), key=lambda c: c["name"])
    good.sort(key=lambda c: c["memory"])
    good.sort(key=lambda c: c["speed"], reverse=True)
    return sorted(c["name"] for c in front), good[0]["name"]
# %% nbgrader={"grade": false, "grade_id": "small-file", "locked": false, "schema_version": 3, "solution": true, "task": false}
from fridge.quantization import mixed


def small_file(metadata, tensors, groups, budget, loss):
    def written(kinds):
        return mixed.file(metadata, tensors, {n: kind for g, kind in kinds.items() for n in groups[g]})

    kinds = dict.fromkeys(groups, "Q4_0")
    best = written(kinds)
    if len(best) > budget:
        raise ValueError("too small a budget")
    base = loss({})
    pairs = []
    for group in groups:
        low = loss({group: "Q4_0"}) - base
        for kind in mixed.KINDS[1:]:
            gain = low - (loss({group: kind}) - base)
            cost = sum(mixed.tensor_bytes(kind, tensors[n].shape) - mixed.tensor_bytes("Q4_0", tensors[n].shape) for n in groups[group])
            pairs.append((gain / cost, gain, group, kind))
    reached = dict.fromkeys(groups, 0.0)
    for _, gain, group, kind in sorted(pairs, reverse=True):
        if gain > reached[group]:
            trial = written(kinds | {group: kind})
            if len(trial) <= budget:
                kinds[group], reached[group], best = kind, gain, trial
    return best
