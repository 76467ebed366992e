"""Small functions, generators, sorting, objects that keep what they know."""

# %% nbgrader={"grade": false, "grade_id": "device-fit", "locked": false, "schema_version": 3, "solution": true, "task": false}
def token_bytes(model):
    return 2 * model["layers"] * model["kv_heads"] * model["head_dim"] * model["kv_bytes"]


def fit(model, device, tokens):
    own = device["runtime"] + token_bytes(model) * tokens

    def verdicts():
        need = own + model["file"]
        yield "no", device["address_space"] is not None and need > device["address_space"]
        yield "fits", need <= device["memory"]
        yield "slow", device["mapped"] and own <= device["memory"]
        yield "no", True

    return own + model["file"], next(word for word, holds in verdicts() if holds)


def longest(model, device):
    limits = (limit for limit in (device["address_space"], device["memory"]) if limit is not None)
    tokens = (min(limits) - model["file"] - device["runtime"]) // token_bytes(model)
    if tokens < 0:
        raise ValueError(tokens)
    return tokens


def pieces(rows, row_bytes, limit):
    try:
        return math.ceil(rows / (limit // row_bytes))
    except ZeroDivisionError:
        raise ValueError("a row is too large") from None

# %% nbgrader={"grade": false, "grade_id": "shards", "locked": false, "schema_version": 3, "solution": true, "task": false}
def shards(tensors, limit):
    def files():
        names, room = [], limit
        for name, size in tensors:
            if size > limit:
                raise ValueError(name)
            if size > room:
                yield names
                names, room = [], limit
            names.append(name)
            room -= size
        if names:
            yield names

    return list(files())

# %% nbgrader={"grade": false, "grade_id": "sink-cache", "locked": false, "schema_version": 3, "solution": true, "task": false}
from fridge.models.llama import rope_table, rotate


class Ring:
    def __init__(self, length):
        self.items, self.length, self.next = [], length, 0

    def push(self, item):
        if len(self.items) < self.length:
            self.items.append(item)
        else:
            self.items[self.next] = item
            self.next = (self.next + 1) % self.length

    def oldest_first(self):
        return self.items[self.next :] + self.items[: self.next]


class SinkCache:
    def __init__(self, sinks, window):
        self.first, self.most, self.ring = [], sinks, Ring(window)

    def __len__(self):
        return len(self.first) + len(self.ring.items)

    def add(self, k, v):
        pair = torch.stack((k, v))
        if len(self.first) < self.most:
            self.first.append((k, v))
        else:
            self.ring.push((k, v))

    def attend(self, q, inv_freq):
        if len(self) == 0:
            raise ValueError("empty")
        keys, values = zip(*self.first, *self.ring.oldest_first())
        back = torch.arange(len(keys) - 1, -1, -1)  # how far each is behind the query: distances are all that counts
        cos, sin = rope_table(-back, inv_freq, torch.float32)
        k = rotate(torch.stack(keys, 1), cos, sin)
        groups = q.shape[0] // k.shape[0]
        k, v = (part.repeat_interleave(groups, 0) for part in (k, torch.stack(values, 1)))
        return torch.softmax((k @ q[..., None])[..., 0] / q.shape[1] ** 0.5, -1)[:, None].matmul(v)[:, 0]

# %% nbgrader={"grade": false, "grade_id": "arena", "locked": false, "schema_version": 3, "solution": true, "task": false}
def plan(ops, sizes, outputs, alignment):
    def end_of(place, name):
        reads = [step for step, op in enumerate(ops) if name in op["of"]]
        return float("inf") if name in outputs else max([place, *reads])

    lives = {op["name"]: (place, end_of(place, op["name"])) for place, op in enumerate(ops)}
    meet = lambda a, b: max(lives[a][0], lives[b][0]) <= min(lives[a][1], lives[b][1])
    result = {}

    def best_gap(name, taken):
        gaps, place = [], 0
        for start, stop in taken:
            if start - place >= sizes[name]:
                gaps.append((start - place, place))
            place = max(place, math.ceil(stop / alignment) * alignment)
        return min(gaps)[1] if gaps else place

    for name in sorted(lives, key=sizes.get, reverse=True):
        taken = sorted((result[other], result[other] + sizes[other]) for other in result if meet(name, other))
        result[name] = best_gap(name, taken)
    return result

# %% nbgrader={"grade": false, "grade_id": "static-step", "locked": false, "schema_version": 3, "solution": true, "task": false}
from fridge.fusion import exporting


def write_at(buffer, position, row):
    return torch.scatter(buffer, 1, position.reshape(1, 1, 1).expand(buffer.shape[0], 1, buffer.shape[2]), row)


def attend_step(q, k, v, keys, values, position, inv_freq):
    table = rope_table(position, inv_freq, torch.float32)
    keys = write_at(keys, position, rotate(k[:, None], *table))
    values = write_at(values, position, v[:, None])
    visible = torch.arange(keys.shape[1])[None, None, None] <= position
    bias = torch.zeros_like(visible, dtype=torch.float32).masked_fill(~visible, float("-inf"))
    out = F.scaled_dot_product_attention(
        rotate(q[:, None], *table)[None], keys[None], values[None], attn_mask=bias, enable_gqa=True
    )
    return [out.squeeze(0).squeeze(1), keys, values]


def exported(heads, kv_heads, head_dim, places):
    return exporting.program(attend_step, exporting.attention_inputs(heads, kv_heads, head_dim, places))

# %% nbgrader={"grade": false, "grade_id": "int8-product", "locked": false, "schema_version": 3, "solution": true, "task": false}
def quantized(x):
    top = x.abs().max(1).values
    s = torch.where(top > 0, top / 127, torch.ones_like(top))
    return (x / s[:, None]).round().to(torch.int64), s


def int8_product(x, weight, scale):
    codes, s = quantized(x)
    return ((codes @ weight.long().mT).double() * torch.outer(s, scale).double()).to(x.dtype)

# %% nbgrader={"grade": false, "grade_id": "rates", "locked": false, "schema_version": 3, "solution": true, "task": false}
from fractions import Fraction


def tokens_per_second(bytes_read, flops, bandwidth, speed):
    seconds = max((bytes_read / bandwidth), (flops / speed))
    return seconds**-1


def tokens_per_charge(rate, watt_hours, watts, burst, throttled):
    lasts = 3600 * watt_hours / watts
    phases = [(min(burst, lasts), 1), (max(0, lasts - burst), throttled)]
    return sum(seconds * share * rate for seconds, share in phases)


def crossing(local_rate, remote_rate, round_trip):
    slower = 1 / Fraction(local_rate) - 1 / Fraction(remote_rate)
    if slower <= 0:
        return None
    return math.floor(Fraction(round_trip) / slower) + 1

# %% nbgrader={"grade": false, "grade_id": "choose", "locked": false, "schema_version": 3, "solution": true, "task": false}
from functools import reduce


def allowed(scenario):
    tests = [
        lambda one: one["memory"] <= scenario["memory"],
        lambda one: one["users"] >= scenario["users"],
        lambda one: one["local"] or not scenario["private"],
        lambda one: one["first_token"] <= scenario["first_token"],
        lambda one: one["licence"] in scenario["licences"],
    ]
    return lambda one: all(test(one) for test in tests)


def choose(scenario, candidates):
    left = list(filter(allowed(scenario), candidates))
    losses = lambda one: (-one["quality"], -one["speed"], one["memory"])

    def beats(a, b):
        return losses(a) != losses(b) and all(map(lambda x, y: x <= y, losses(a), losses(b)))

    front = [one for one in left if not [other for other in left if beats(other, one)]]
    if not front:
        return [], None
    enough = scenario["enough"] * max(front, key=lambda one: one["quality"])["quality"]
    rank = lambda one: (-one["speed"], one["memory"], one["name"])
    chosen = reduce(lambda a, b: a if rank(a) < rank(b) else b, (one for one in front if one["quality"] >= enough))
    names = tuple(sorted(one["name"] for one in front))
    return list(names), chosen["name"]

# %% nbgrader={"grade": false, "grade_id": "small-file", "locked": false, "schema_version": 3, "solution": true, "task": false}
import itertools

from fridge.quantization import mixed


def small_file(metadata, tensors, groups, budget, loss):
    def names(kinds):
        return dict(itertools.chain.from_iterable(((n, kinds[g]) for n in groups[g]) for g in groups))

    def size(group, kind):
        return sum(mixed.tensor_bytes(kind, tensors[n].shape) for n in groups[group])

    lowest = dict.fromkeys(groups, "Q4_0")
    room = budget - len(mixed.file(metadata, tensors, names(lowest)))
    if room < 0:
        raise ValueError("too small")
    kinds = ("Q4_0", "Q5_0", "Q5_1", "Q8_0", "F16")
    # A knapsack: for each number of bytes spent, the least damage. Bytes are multiples of 32 here.
    best = {0: (0.0, {})}
    for group in groups:
        base, further = loss({group: "Q4_0"}), {}
        options = [(size(group, kind) - size(group, "Q4_0"), loss({group: kind}) - base, kind) for kind in kinds]
        for spent, (damage, chosen) in best.items():
            for more, change, kind in options:
                total = spent + more
                if total <= room - 32 and (total not in further or damage + change < further[total][0]):
                    further[total] = (damage + change, chosen | {group: kind})
                elif total == 0 and total not in further:
                    further[total] = (damage + change, chosen | {group: kind})
        best = further
    _, chosen = min(best.values(), key=lambda one: one[0])
    return mixed.file(metadata, tensors, names(chosen))
