"""Whole tensors at once, other attention, slices instead of masks where shapes allow it."""

# %% nbgrader={"grade": false, "grade_id": "sink-cache", "locked": false, "schema_version": 3, "solution": true, "task": false}
from fridge.models.llama import rope_table, rotate


class SinkCache:
    """Two buffers; slots are walked from the oldest to the newest by index."""

    def __init__(self, sinks, window):
        self.sinks, self.window = sinks, window
        self.beginning, self.ring = [], None
        self.written = 0

    def __len__(self):
        return len(self.beginning) + min(self.written, self.window)

    def add(self, k, v):
        if len(self.beginning) < self.sinks:
            self.beginning.append((k, v))
            return
        if self.ring is None:
            self.ring = torch.zeros(2, self.window, *k.shape)
        self.ring[0, self.written % self.window].copy_(k)
        self.ring[1, self.written % self.window].copy_(v)
        self.written += 1

    def attend(self, q, inv_freq):
        total = len(self)
        if total == 0:
            raise ValueError("add comes first")
        keys = [k for k, _ in self.beginning]
        values = [v for _, v in self.beginning]
        for number in range(max(0, self.written - self.window), self.written):
            keys.append(self.ring[0, number % self.window])
            values.append(self.ring[1, number % self.window])
        places = torch.arange(total)
        k = rotate(torch.stack(keys).transpose(0, 1), *rope_table(places, inv_freq, torch.float64))
        q = rotate(q[:, None].double(), *rope_table(places[-1:], inv_freq, torch.float64))
        v = torch.stack(values).transpose(0, 1).double()
        grouped = q.reshape(k.shape[0], -1, k.shape[2])
        weights = (grouped @ k.mT / math.sqrt(k.shape[2])).softmax(-1)
        return (weights @ v).reshape(q.shape[0], -1).float()

# %% nbgrader={"grade": false, "grade_id": "arena", "locked": false, "schema_version": 3, "solution": true, "task": false}
def plan(ops, sizes, outputs, alignment):
    births = [op["name"] for op in ops]
    deaths = {}
    for step in reversed(range(len(ops))):
        for part in (*ops[step]["of"], ops[step]["name"]):
            deaths.setdefault(part, step)
    for name in outputs:
        deaths[name] = len(ops)
    taken = [[] for _ in range(len(ops) + 1)]  # per operation: (start, stop) that lie there
    offsets = {}
    weight = lambda name: (sizes[name], deaths[name] - births.index(name))
    for name in sorted(births, key=weight, reverse=True):
        span = range(births.index(name), deaths[name] + 1)
        busy = sorted({piece for step in span for piece in taken[step]})
        offset = 0
        for start, stop in busy:
            if offset + sizes[name] <= start:
                break
            offset = max(offset, stop + (-stop) % alignment)
        offsets[name] = offset
        for step in span:
            taken[step].append((offset, offset + sizes[name]))
    return offsets

# %% nbgrader={"grade": false, "grade_id": "static-step", "locked": false, "schema_version": 3, "solution": true, "task": false}
from fridge.fusion import exporting


def attend_step(q, k, v, keys, values, position, inv_freq):
    heads, size = q.shape
    kv_heads, places, _ = keys.shape
    both = torch.cat((q, k)).reshape(-1, 1, size)
    both = rotate(both, *rope_table(position, inv_freq, torch.float32))
    keys = torch.index_put(keys, (torch.arange(kv_heads), position), both[heads:, 0])
    values = torch.index_put(values, (torch.arange(kv_heads), position), v)
    own = torch.arange(heads) // (heads // kv_heads)
    scores = (keys[own] * both[:heads]).sum(-1) / size**0.5
    unseen = torch.arange(places) - position > 0
    weights = torch.exp(scores - torch.where(unseen, -torch.inf, scores).amax(-1, keepdim=True))
    weights = torch.where(unseen, 0.0, weights)
    weights = weights / weights.sum(-1, keepdim=True)
    return torch.bmm(weights[:, None], values[own]).squeeze(1), keys, values


def exported(heads, kv_heads, head_dim, places):
    return exporting.program(attend_step, exporting.attention_inputs(heads, kv_heads, head_dim, places))

# %% nbgrader={"grade": false, "grade_id": "int8-product", "locked": false, "schema_version": 3, "solution": true, "task": false}
def int8_product(x, weight, scale):
    s = torch.linalg.vector_norm(x, ord=float("inf"), dim=1) / 127
    codes = torch.zeros(x.shape, dtype=torch.int32)
    busy = s > 0
    codes[busy] = torch.round(x[busy] / s[busy, None]).int()
    y = torch.einsum("tc,rc->tr", codes, weight.int())
    return torch.einsum("tr,t,r->tr", y.float(), s, scale)

# %% nbgrader={"grade": false, "grade_id": "choose", "locked": false, "schema_version": 3, "solution": true, "task": false}
def choose(scenario, candidates):
    survivors = {}
    for one in candidates:
        checks = (
            scenario["memory"] >= one["memory"],
            scenario["users"] <= one["users"],
            one["local"] if scenario["private"] else True,
            scenario["first_token"] >= one["first_token"],
            one["licence"] in set(scenario["licences"]),
        )
        if False not in checks:
            survivors[one["name"]] = one
    front = dict(survivors)
    for name, one in survivors.items():
        for other in survivors.values():
            gains = [other["quality"] - one["quality"], other["speed"] - one["speed"], one["memory"] - other["memory"]]
            if min(gains) >= 0 and max(gains) > 0:
                front.pop(name, None)
    if not front:
        return list(), None
    top = max(one["quality"] for one in front.values())
    order = sorted(front)
    order = sorted(order, key=lambda name: front[name]["memory"])
    order = sorted(order, key=lambda name: front[name]["speed"], reverse=True)
    chosen = next(name for name in order if front[name]["quality"] >= top * scenario["enough"])
    return sorted(front), chosen
