"""NumPy where it can be, and formulas written the other way round."""

# %% nbgrader={"grade": false, "grade_id": "device-fit", "locked": false, "schema_version": 3, "solution": true, "task": false}
def fit(model, device, tokens):
    shape = np.array([2, model["layers"], model["kv_heads"], model["head_dim"], model["kv_bytes"]], dtype=object)
    kv = int(shape.prod()) * tokens
    need = kv + model["file"] + device["runtime"]
    addressable = device["address_space"] is None or device["address_space"] >= need
    resident = device["memory"] >= need
    pageable = device["mapped"] and device["memory"] >= kv + device["runtime"]
    return need, "no" if not addressable else "fits" if resident else "slow" if pageable else "no"


def longest(model, device):
    space = device["address_space"]
    bound = device["memory"] if space is None or space > device["memory"] else space
    free = bound - model["file"] - device["runtime"]
    if free < 0:
        raise ValueError(f"{-free} bytes are missing")
    tokens, _ = divmod(free, 2 * model["layers"] * model["kv_heads"] * model["head_dim"] * model["kv_bytes"])
    return tokens


def pieces(rows, row_bytes, limit):
    if limit < row_bytes:
        raise ValueError("no row fits")
    return 1 + (rows - 1) // (limit // row_bytes)


import numpy as np

# %% nbgrader={"grade": false, "grade_id": "shards", "locked": false, "schema_version": 3, "solution": true, "task": false}
def shards(tensors, limit):
    if not tensors:
        return []
    names, sizes = zip(*tensors)
    if max(sizes) > limit:
        raise ValueError("a tensor is larger than a file")
    ends = np.cumsum((0, *sizes))
    files, start = [], 0
    while start < len(names):
        stop = int(np.searchsorted(ends, ends[start] + limit, side="right")) - 1
        files.append(list(names[start:stop]))
        start = stop
    return files


import numpy as np

# %% nbgrader={"grade": false, "grade_id": "sink-cache", "locked": false, "schema_version": 3, "solution": true, "task": false}
import numpy as np


class SinkCache:
    def __init__(self, sinks, window):
        self.sinks, self.window, self.t = sinks, window, 0
        self.memory = None

    def __len__(self):
        return self.t if self.t < self.sinks + self.window else self.sinks + self.window

    def add(self, k, v):
        if self.memory is None:
            self.memory = np.zeros((2, self.sinks + self.window, *k.shape), dtype=np.float32)
        spot = self.t if self.t < self.sinks else self.sinks + (self.t - self.sinks) % self.window
        self.memory[0, spot], self.memory[1, spot] = k.numpy(), v.numpy()
        self.t += 1

    def attend(self, q, inv_freq):
        if self.memory is None:
            raise ValueError("no token has come")
        texts = [*range(min(self.t, self.sinks)), *range(max(self.sinks, self.t - self.window), self.t)]
        spots = [t if t < self.sinks else self.sinks + (t - self.sinks) % self.window for t in texts]
        k, v = self.memory[:, spots].astype(np.float64)  # [held, kv_heads, size], the oldest first

        def turned(x, places):
            angle = places[:, None, None] * inv_freq.numpy().astype(np.float64)
            a, b = np.split(x, 2, axis=-1)
            return np.concatenate((a * np.cos(angle) - b * np.sin(angle), a * np.sin(angle) + b * np.cos(angle)), -1)

        k = turned(k, np.arange(len(spots)))
        mine = turned(q.numpy()[None].astype(np.float64), np.array([len(spots) - 1]))[0]
        each = len(mine) // k.shape[1]
        k, v = np.repeat(k, each, axis=1), np.repeat(v, each, axis=1)
        scores = np.einsum("hd,phd->hp", mine, k) / np.sqrt(mine.shape[1])
        weights = np.exp(scores - scores.max(1, keepdims=True))
        weights /= weights.sum(1, keepdims=True)
        return torch.from_numpy(np.einsum("hp,phd->hd", weights, v)).float()

# %% nbgrader={"grade": false, "grade_id": "arena", "locked": false, "schema_version": 3, "solution": true, "task": false}
def plan(ops, sizes, outputs, alignment):
    steps = len(ops)
    number = {op["name"]: i for i, op in enumerate(ops)}
    alive = np.zeros((steps, steps + 1), dtype=bool)
    for i, op in enumerate(ops):
        readers = [j for j, other in enumerate(ops) if op["name"] in other["of"]]
        end = steps if op["name"] in outputs else max(readers, default=i)
        alive[i, i : end + 1] = True
    offsets = {}
    # By breadth: the operation at which most is alive comes first.
    loads = [sum(sizes[ops[i]["name"]] for i in np.flatnonzero(alive[:, step])) for step in range(steps)]
    order = []
    for step in sorted(range(steps), key=lambda step: -loads[step]):
        here = [i for i in np.flatnonzero(alive[:, step]) if i not in order]
        order += sorted(here, key=lambda i: -sizes[ops[i]["name"]])
    for i in order:
        size = sizes[ops[i]["name"]]
        others = [(offsets[name], sizes[name]) for name in offsets if (alive[i] & alive[number[name]]).any()]
        spots = [0] + [-(-(o + s) // alignment) * alignment for o, s in others]
        offsets[ops[i]["name"]] = min(
            spot for spot in spots if all(spot >= o + s or spot + size <= o for o, s in others)
        )
    return offsets


import numpy as np

# %% nbgrader={"grade": false, "grade_id": "static-step", "locked": false, "schema_version": 3, "solution": true, "task": false}
from fridge.fusion import exporting


def attend_step(q, k, v, keys, values, position, inv_freq):
    cos, sin = rope_table(position, inv_freq, torch.float32)
    q, k = rotate(q.unsqueeze(1), cos, sin), rotate(k.unsqueeze(1), cos, sin)
    one_hot = F.one_hot(position, keys.shape[1]).to(torch.bool).transpose(0, 1)  # [places, 1]
    keys = keys.masked_fill(one_hot, 0.0) + one_hot * k
    values = values.masked_fill(one_hot, 0.0) + one_hot * v.unsqueeze(1)
    kv_heads, size = k.shape[0], k.shape[2]
    grouped = q.reshape(kv_heads, -1, size)
    scores = torch.einsum("gqd,gpd->gqp", grouped, keys) * size**-0.5
    behind = torch.arange(keys.shape[1]).gt(position)
    scores = scores + torch.where(behind, -torch.inf, 0.0)
    seen = values.masked_fill(behind[:, None], 0.0)
    return torch.einsum("gqp,gpd->gqd", torch.softmax(scores, -1), seen).reshape(-1, size), keys, values


def exported(heads, kv_heads, head_dim, places):
    return exporting.program(attend_step, exporting.attention_inputs(heads, kv_heads, head_dim, places))

# %% nbgrader={"grade": false, "grade_id": "int8-product", "locked": false, "schema_version": 3, "solution": true, "task": false}
import numpy as np


def int8_product(x, weight, scale):
    own = x.numpy().astype(np.float64)
    s = np.abs(own).max(axis=1, keepdims=True) / 127
    codes = np.rint(np.divide(own, s, out=np.zeros_like(own), where=s > 0)).astype(np.int32)
    sums = codes @ weight.numpy().astype(np.int32).T
    return torch.from_numpy(sums * s * scale.numpy()).to(torch.float32)

# %% nbgrader={"grade": false, "grade_id": "rates", "locked": false, "schema_version": 3, "solution": true, "task": false}
def tokens_per_second(bytes_read, flops, bandwidth, speed):
    return float(np.min([bandwidth / bytes_read, speed / flops]))


def tokens_per_charge(rate, watt_hours, watts, burst, throttled):
    seconds = watt_hours / watts * 3600
    return rate * (np.minimum(seconds, burst) + throttled * np.maximum(seconds - burst, 0))


def crossing(local_rate, remote_rate, round_trip):
    n = np.arange(1, 200_000)
    faster = n[round_trip + n / remote_rate < n / local_rate]
    return int(faster[0]) if faster.size else None


import numpy as np

# %% nbgrader={"grade": false, "grade_id": "choose", "locked": false, "schema_version": 3, "solution": true, "task": false}
import numpy as np


def choose(scenario, candidates):
    keep = lambda one: not (
        one["memory"] > scenario["memory"]
        or one["users"] < scenario["users"]
        or (scenario["private"] and not one["local"])
        or one["first_token"] > scenario["first_token"]
        or one["licence"] not in scenario["licences"]
    )
    left = sorted(filter(keep, candidates), key=lambda one: one["name"])
    if not left:
        return ([], None)
    table = np.array([[one["quality"], one["speed"], -one["memory"]] for one in left], dtype=float)
    as_good = (table[:, None] >= table).all(-1)
    better = (table[:, None] > table).any(-1)
    is_out = (as_good & better).any(0)
    front = [one for one, out in zip(left, is_out) if not out]
    best = max(one["quality"] for one in front)
    good = [one for one in front if not one["quality"] < scenario["enough"] * best]
    fastest = max(one["speed"] for one in good)
    chosen = min((one for one in good if one["speed"] == fastest), key=lambda one: one["memory"])
    return [one["name"] for one in front], chosen["name"]
