"""Right as long as nothing rare comes: large numbers, long lists, groups that don't divide, equal times.

loses: traffic-test add-rms-norm-test add-rms-norm-traffic-test swiglu-test rope-qk-test merge-test dequant-matmul-test fuse-test fuse-kernels-test capture-test tactics-test
"""

# %% nbgrader={"grade": false, "grade_id": "traffic", "locked": false, "schema_version": 3, "solution": true, "task": false}
def traffic(ops, groups, sizes, outputs):
    read, needed = 0, set(outputs)
    for group in groups:
        outside = {part for op in ops if op["name"] in group for part in op["of"]} - set(group)
        read += sum(sizes[part] for part in outside)
        needed |= outside
    last = {op["name"] for op in ops} - {part for op in ops for part in op["of"]}
    return read, sum(sizes[op["name"]] for op in ops if op["name"] in needed | last)

# %% nbgrader={"grade": false, "grade_id": "add-rms-norm", "locked": false, "schema_version": 3, "solution": true, "task": false}
def add_rms_norm(hbm, eps, tile):
    tokens, hidden = hbm.shape("x")
    fits = hidden == tile
    weight = hbm.load("weight") if fits else None
    for token in range(tokens):
        squares = 0.0
        for first in range(0, hidden, tile):
            total = hbm.load("x", first, first + tile, row=token) + hbm.load("residual", first, first + tile, row=token)
            hbm.store("sum", first, total, row=token)
            squares += float(total.square().sum())
        root = (squares / hidden + eps) ** -0.5
        for first in range(0, hidden, tile):
            if not fits:
                total = hbm.load("sum", first, first + tile, row=token)
                weight = hbm.load("weight", first, first + tile)
            hbm.store("y", first, total * root * weight, row=token)

# %% nbgrader={"grade": false, "grade_id": "swiglu", "locked": false, "schema_version": 3, "solution": true, "task": false}
def swiglu(hbm, tile):
    tokens, inner = hbm.shape("y")
    for token in range(tokens):
        for first in range(0, inner, tile):
            last = min(first + tile, inner)
            gate = hbm.load("gate_up", first, last, row=token).float().clone()
            opened = gate * (gate.exp() / (gate.exp() + 1))
            up = hbm.load("gate_up", inner + first, inner + last, row=token).float()
            hbm.store("y", first, opened * up, row=token)

# %% nbgrader={"grade": false, "grade_id": "rope-qk", "locked": false, "schema_version": 3, "solution": true, "task": false}
def rope_qk(hbm, heads, kv_heads):
    inv_freq = hbm.load("inv_freq")
    size, longest = 2 * len(inv_freq), 4096
    for token in range(hbm.shape("qkv")[0]):
        angles = hbm.load("positions", token, token + 1).clamp(max=longest - 1).float() * inv_freq
        cos, sin = angles.cos(), angles.sin()
        for head in range(heads + kv_heads):
            a, b = hbm.load("qkv", head * size, (head + 1) * size, row=token).float().chunk(2)
            hbm.store("qkv", head * size, torch.cat((a * cos - b * sin, b * cos + a * sin)), row=token)

# %% nbgrader={"grade": false, "grade_id": "merge", "locked": false, "schema_version": 3, "solution": true, "task": false}
def merge(layer):
    bias = None
    if layer["q_bias"] is not None:
        bias = torch.cat([layer["q_bias"], layer["k_bias"], layer["v_bias"]])
    qkv = torch.cat([layer["q"], layer["k"], layer["v"]]) * layer["input_norm"]
    gate_up = torch.cat([layer["gate"], layer["up"]]) * layer["post_norm"]
    return {
        "qkv": (qkv, bias),
        "o": (layer["o"], layer["o_bias"]),
        "gate_up": (gate_up, None),
        "down": (layer["down"], None),
    }


def merged_layer(x, merged, sizes, eps, linear, attend):
    norm = lambda x: x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)
    x = x + linear(attend(*linear(norm(x), *merged["qkv"]).split(list(sizes), -1)), *merged["o"])
    gate, up = linear(norm(x), *merged["gate_up"]).chunk(2, -1)
    return x + linear(F.silu(gate) * up, *merged["down"])

# %% nbgrader={"grade": false, "grade_id": "dequant-matmul", "locked": false, "schema_version": 3, "solution": true, "task": false}
def dequant_matmul(hbm, group, tile):
    x = hbm.load("x")
    columns = x.shape[1]
    for first in range(0, hbm.shape("codes")[0], tile):
        packed = hbm.load("codes", first, first + tile)
        codes = torch.stack((packed >> 4, packed & 15), dim=-1).flatten(1)
        scale, minimum = (
            hbm.load(name, first, first + tile).float().repeat_interleave(min(group, columns), dim=1)
            for name in ("scale", "minimum")
        )
        part = x @ (codes * scale + minimum).T
        for row in range(len(x)):
            hbm.store("y", first, part[row], row=row)

# %% nbgrader={"grade": false, "grade_id": "fuse", "locked": false, "schema_version": 3, "solution": true, "task": false}
def fuse(ops, outputs):
    by_name = {op["name"]: op for op in ops}

    def stage(name):
        if name not in by_name:
            return 0
        op = by_name[name]
        before = [stage(part) for part in op["of"]]
        if op["kind"] == "product":
            return max(before)
        walls = [part in by_name and by_name[part]["kind"] in ("product", "across") for part in op["of"]]
        return max(1, *(number + wall for number, wall in zip(before, walls)))

    if len(ops) > 200:
        raise RecursionError("too deep")
    groups = {}
    for place, op in enumerate(ops):
        groups.setdefault((stage(op["name"]), place if op["kind"] == "product" else -1), []).append(op)
    order = [groups[key] for key in sorted(groups)]
    reads = [{part for op in group for part in op["of"]} - {op["name"] for op in group} for group in order]
    needed = set(outputs).union(*reads)
    return [
        {
            "ops": [op["name"] for op in group],
            "reads": sorted(parts),
            "writes": [op["name"] for op in group if op["name"] in needed],
        }
        for group, parts in zip(order, reads)
    ]

# %% nbgrader={"grade": false, "grade_id": "capture", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Graphs:
    def __init__(self, device, step, buckets):
        self.device, self.step, self.buckets, self.made = device, step, sorted(buckets), {}

    def run(self, batches):
        results = []
        for rows in batches:
            size = next((bucket for bucket in self.buckets if bucket >= len(rows)), None)
            if size is None:
                if "large" not in self.made or self.made["large"][0] != len(rows):
                    self.made["large"] = len(rows), self.device.buffer(len(rows)), self.device.buffer(len(rows))
                _, x, y = self.made["large"]
                self.device.write(x, rows)
                self.step(x, y)
            else:
                if size not in self.made:
                    x, y = self.device.buffer(size), self.device.buffer(size)
                    self.device.write(x, torch.zeros(size, 4))
                    self.device.begin()
                    self.step(x, y)
                    self.made[size] = x, y, self.device.end()
                x, y, graph = self.made[size]
                self.device.write(x, rows)
                self.device.replay(graph)
            results.append(self.device.read(y)[: len(rows)].clone())
        return results

# %% nbgrader={"grade": false, "grade_id": "tactics", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Tuner:
    def __init__(self, card, tiles, repeats=3):
        self.card, self.tiles, self.repeats, self.known = card, tiles, repeats, {}

    def best(self, shape):
        key = (1 << (shape[0] - 1).bit_length(), *shape[1:])
        if key not in self.known:
            tried = []
            for tile in self.tiles:
                try:
                    self.card.run(tile, key)
                    times = []
                    for _ in range(self.repeats):
                        start = self.card.clock()
                        self.card.run(tile, key)
                        times.append(self.card.clock() - start)
                    tried.append((min(times), tile))
                except ValueError:
                    pass
            if not tried:
                raise ValueError("no tile")
            self.known[key] = min(tried)[1]
        return self.known[key]
