"""Plain loops and counters, nothing clever."""

# %% nbgrader={"grade": false, "grade_id": "device-fit", "locked": false, "schema_version": 3, "solution": true, "task": false}
def fit(model, device, tokens):
    cache = 0
    for _ in range(2):
        cache += model["layers"] * model["kv_heads"] * model["head_dim"] * tokens * model["kv_bytes"]
    need = model["file"] + cache + device["runtime"]
    verdict = "no"
    if device["address_space"] is None or need <= device["address_space"]:
        if need <= device["memory"]:
            verdict = "fits"
        elif device["mapped"]:
            if cache + device["runtime"] <= device["memory"]:
                verdict = "slow"
    return [need, verdict]


def longest(model, device):
    if fit(model, device, 0)[1] != "fits":
        raise ValueError("not even without a text")
    low, high = 0, 1
    while fit(model, device, high)[1] == "fits":
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if fit(model, device, middle)[1] == "fits":
            low = middle
        else:
            high = middle
    return low


def pieces(rows, row_bytes, limit):
    in_one = 0
    while (in_one + 1) * row_bytes <= limit and in_one < rows:
        in_one += 1
    if in_one == 0:
        raise ValueError(limit)
    count = 0
    while rows > 0:
        rows -= in_one
        count += 1
    return count
# %% nbgrader={"grade": false, "grade_id": "shards", "locked": false, "schema_version": 3, "solution": true, "task": false}
def shards(tensors, limit):
    files = []
    place = 0
    while place < len(tensors):
        names, used = [], 0
        while place < len(tensors) and used + tensors[place][1] <= limit:
            names.append(tensors[place][0])
            used += tensors[place][1]
            place += 1
        if not names:
            raise ValueError(tensors[place][0])
        files.append(tuple(names))
    return tuple(files)
# %% nbgrader={"grade": false, "grade_id": "sink-cache", "locked": false, "schema_version": 3, "solution": true, "task": false}
from fridge.models.llama import rope_table, rotate


class SinkCache:
    def __init__(self, sinks, window):
        self.slots = [None] * (sinks + window)
        self.sinks, self.window = sinks, window
        self.count = 0

    def __len__(self):
        return sum(slot is not None for slot in self.slots)

    def add(self, k, v):
        slot = self.count
        if slot >= self.sinks + self.window:
            slot = self.sinks + (self.count - self.sinks) % self.window
        self.slots[slot] = (self.count, k.clone(), v.clone())
        self.count += 1

    def attend(self, q, inv_freq):
        held = sorted((slot for slot in self.slots if slot is not None), key=lambda slot: slot[0])
        if len(held) == 0:
            raise ValueError("nothing yet")

        def turn(x, place):
            half = len(x) // 2
            result = x.clone()
            for i in range(half):
                angle = place * float(inv_freq[i])
                a, b = float(x[i]), float(x[i + half])
                result[i] = a * math.cos(angle) - b * math.sin(angle)
                result[i + half] = b * math.cos(angle) + a * math.sin(angle)
            return result

        heads, size = q.shape
        each = heads // held[0][1].shape[0]
        out = torch.zeros(heads, size)
        for head in range(heads):
            mine = turn(q[head], len(held) - 1)
            scores = [float(mine @ turn(k[head // each], place)) / size**0.5 for place, (_, k, _) in enumerate(held)]
            top = max(scores)
            weights = [math.exp(score - top) for score in scores]
            for weight, (_, _, v) in zip(weights, held):
                out[head] += weight / sum(weights) * v[head // each]
        return out
# %% nbgrader={"grade": false, "grade_id": "arena", "locked": false, "schema_version": 3, "solution": true, "task": false}
def plan(ops, sizes, outputs, alignment):
    lives = []
    for i, op in enumerate(ops):
        end = i
        for j in range(i + 1, len(ops)):
            if op["name"] in ops[j]["of"]:
                end = j
        if op["name"] in outputs:
            end = len(ops)
        lives.append((sizes[op["name"]], i, end, op["name"]))
    lives.sort(reverse=True)
    placed = []
    result = {}
    for size, start, end, name in lives:
        offset = 0
        moved = True
        while moved:
            moved = False
            for o, s, a, b in placed:
                if a <= end and start <= b and o < offset + size and offset < o + s:
                    offset = o + s
                    while offset % alignment:
                        offset += 1
                    moved = True
        placed.append((offset, size, start, end))
        result[name] = offset
    return result
# %% nbgrader={"grade": false, "grade_id": "static-step", "locked": false, "schema_version": 3, "solution": true, "task": false}
from fridge.fusion import exporting


def attend_step(q, k, v, keys, values, position, inv_freq):
    angle = torch.cat((position * inv_freq, position * inv_freq))

    def turn(x):
        half = x.shape[-1] // 2
        swapped = torch.cat((-x[..., half:], x[..., :half]), dim=-1)
        return x * torch.cos(angle) + swapped * torch.sin(angle)

    q, k = turn(q), turn(k)
    new_keys, new_values = keys.clone(), values.clone()
    new_keys[:, position] = k[:, None]
    new_values[:, position] = v[:, None]
    heads = []
    seen = torch.arange(keys.shape[1]) <= position
    for head in range(q.shape[0]):
        own = head // (q.shape[0] // k.shape[0])
        scores = new_keys[own] @ q[head] / q.shape[1] ** 0.5
        weights = torch.softmax(torch.where(seen, scores, torch.tensor(-1e30)), dim=0)
        heads.append(weights @ new_values[own])
    return torch.stack(heads), new_keys, new_values


def exported(heads, kv_heads, head_dim, places):
    return exporting.program(attend_step, exporting.attention_inputs(heads, kv_heads, head_dim, places))
# %% nbgrader={"grade": false, "grade_id": "int8-product", "locked": false, "schema_version": 3, "solution": true, "task": false}
def int8_product(x, weight, scale):
    result = torch.zeros(len(x), len(weight))
    for token in range(len(x)):
        largest = float(x[token].abs().max())
        if largest == 0:
            continue
        s = largest / 127
        codes = torch.round(x[token].double() / s).long()
        for row in range(len(weight)):
            result[token, row] = int((codes * weight[row].long()).sum()) * s * float(scale[row])
    return result
# %% nbgrader={"grade": false, "grade_id": "rates", "locked": false, "schema_version": 3, "solution": true, "task": false}
def tokens_per_second(bytes_read, flops, bandwidth, speed):
    reading = bytes_read / bandwidth
    computing = flops / speed
    if reading > computing:
        return 1.0 / reading
    return 1.0 / computing


def tokens_per_charge(rate, watt_hours, watts, burst, throttled):
    joules = watt_hours * 3600
    in_burst = min(joules, burst * watts)
    return in_burst / watts * rate + (joules - in_burst) / watts * rate * throttled


def crossing(local_rate, remote_rate, round_trip):
    if 1 / local_rate <= 1 / remote_rate:
        return None
    n = round_trip / (1 / local_rate - 1 / remote_rate)
    whole = int(n)
    return max(1, whole + 1)
# %% nbgrader={"grade": false, "grade_id": "choose", "locked": false, "schema_version": 3, "solution": true, "task": false}
def choose(scenario, candidates):
    left = []
    for one in candidates:
        if one["memory"] > scenario["memory"]:
            continue
        if one["users"] < scenario["users"]:
            continue
        if scenario["private"] and not one["local"]:
            continue
        if one["first_token"] > scenario["first_token"]:
            continue
        if one["licence"] not in scenario["licences"]:
            continue
        left.append(one)
    front = []
    for one in left:
        for other in left:
            as_good = other["quality"] >= one["quality"] and other["speed"] >= one["speed"] and other["memory"] <= one["memory"]
            better = other["quality"] > one["quality"] or other["speed"] > one["speed"] or other["memory"] < one["memory"]
            if as_good and better:
                break
        else:
            front.append(one)
    if front == []:
        return [], None
    best = 0
    for one in front:
        best = max(best, one["quality"])
    chosen = None
    for one in sorted(front, key=lambda one: one["name"]):
        if one["quality"] < best * scenario["enough"]:
            continue
        if chosen is None or one["speed"] > chosen["speed"] or (one["speed"] == chosen["speed"] and one["memory"] < chosen["memory"]):
            chosen = one
    return sorted([one["name"] for one in front]), chosen["name"]
# %% nbgrader={"grade": false, "grade_id": "small-file", "locked": false, "schema_version": 3, "solution": true, "task": false}
from fridge.quantization import mixed


def small_file(metadata, tensors, groups, budget, loss):
    def size_of(kinds):
        total = fixed
        for group in groups:
            for name in groups[group]:
                total += mixed.tensor_bytes(kinds[group], tensors[name].shape)
        return total

    smallest = {group: "Q4_0" for group in groups}
    names = {name: "Q4_0" for group in groups for name in groups[group]}
    whole = len(mixed.file(metadata, tensors, names))
    if whole > budget:
        raise ValueError(whole)
    fixed = 0
    fixed = whole - size_of(smallest)
    table = {}
    for group in groups:
        for kind in ("Q4_0", "Q5_0", "Q5_1", "Q8_0", "F16"):
            table[group, kind] = loss({group: kind})
    kinds = smallest
    while True:
        best = None
        for group in groups:
            for kind in ("Q5_0", "Q5_1", "Q8_0", "F16"):
                trial = dict(kinds)
                trial[group] = kind
                more = size_of(trial) - size_of(kinds)
                gain = table[group, kinds[group]] - table[group, kind]
                if more > 0 and gain > 0 and size_of(trial) + 64 <= budget:
                    if best is None or gain / more > best[0]:
                        best = (gain / more, trial)
        if best is None:
            break
        kinds = best[1]
    return mixed.file(metadata, tensors, {name: kinds[group] for group in groups for name in groups[group]})
