"""Works in place on what it is given.

loses: traffic-test merge-test merged-layer-test fuse-test fuse-kernels-test capture-test
told: what it is given stays as it was
"""

# %% nbgrader={"grade": false, "grade_id": "traffic", "locked": false, "schema_version": 3, "solution": true, "task": false}
def traffic(ops, groups, sizes, outputs):
    by_name = {op["name"]: op for op in ops}
    read = 0
    while groups:
        group = groups.pop()
        outside = {part for name in group for part in by_name[name]["of"]} - set(group)
        read += sum(sizes[part] for part in outside)
        outputs.extend(outside)
    return read, sum(sizes[name] for name in by_name if name in outputs)

# %% nbgrader={"grade": false, "grade_id": "merge", "locked": false, "schema_version": 3, "solution": true, "task": false}
def merge(layer):
    def folded(names, norm):
        for name in names:
            layer[name] = (layer[name].float() * layer[norm].float()).to(layer[name].dtype)
        return torch.cat([layer[name] for name in names])

    bias = None
    if any(layer[f"{name}_bias"] is not None for name in "qkv"):
        for name in "qkv":
            if layer[f"{name}_bias"] is None:
                layer[f"{name}_bias"] = torch.zeros(len(layer[name]))
        bias = torch.cat([layer[f"{name}_bias"].float() for name in "qkv"])
    return {
        "qkv": (folded("qkv", "input_norm"), bias),
        "o": (layer["o"], layer["o_bias"]),
        "gate_up": (folded(("gate", "up"), "post_norm"), None),
        "down": (layer["down"], None),
    }


def merged_layer(x, merged, sizes, eps, linear, attend):
    norm = lambda x: x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)
    x += linear(attend(*linear(norm(x), *merged["qkv"]).split(list(sizes), -1)), *merged["o"])
    gate, up = linear(norm(x), *merged["gate_up"]).chunk(2, -1)
    x += linear(F.silu(gate) * up, *merged["down"])
    return x

# %% nbgrader={"grade": false, "grade_id": "fuse", "locked": false, "schema_version": 3, "solution": true, "task": false}
def fuse(ops, outputs):
    by_name = {op["name"]: op for op in ops}
    for op in ops:
        product = op["kind"] == "product"
        op["stage"] = 0 if product else 1
        for part in op["of"]:
            if part in by_name:
                wall = by_name[part]["kind"] in ("product", "across") and not product
                op["stage"] = max(op["stage"], by_name[part]["stage"] + wall)
    groups = {}
    for place, op in enumerate(ops):
        groups.setdefault((op["stage"], place if op["kind"] == "product" else -1), []).append(op)
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
        buckets.sort()
        self.device, self.step, self.buckets, self.made = device, step, buckets, {}

    def run(self, batches):
        results = []
        while batches:
            results.append(self.one(batches.pop(0)))
        return results

    def one(self, rows):
        size = next((bucket for bucket in self.buckets if bucket >= len(rows)), None)
        if size is None:
            x, y = self.device.buffer(len(rows)), self.device.buffer(len(rows))
            self.device.write(x, rows)
            self.step(x, y)
            return self.device.read(y).clone()
        if size not in self.made:
            x, y = self.device.buffer(size), self.device.buffer(size)
            self.device.begin()
            self.step(x, y)
            self.made[size] = x, y, self.device.end()
        x, y, graph = self.made[size]
        self.device.write(x, F.pad(rows, (0, 0, 0, size - len(rows))))
        self.device.replay(graph)
        return self.device.read(y)[: len(rows)].clone()
