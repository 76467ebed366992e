"""Classes for the parts, deques and sets for the order."""

# %% nbgrader={"grade": false, "grade_id": "traffic", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Kernel:
    def __init__(self, ops):
        self.made = {op["name"] for op in ops}
        self.needed = {part for op in ops for part in op["of"]} - self.made


def traffic(ops, groups, sizes, outputs):
    kernels = [Kernel([op for op in ops if op["name"] in set(group)]) for group in groups]
    read = written = 0
    for kernel in kernels:
        for name in kernel.needed:
            read += sizes[name]
        for name in kernel.made:
            if name in outputs or any(name in other.needed for other in kernels):
                written += sizes[name]
    return read, written

# %% nbgrader={"grade": false, "grade_id": "add-rms-norm", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Row:
    def __init__(self, hbm, token, tile):
        self.hbm, self.token, self.tile = hbm, token, tile
        self.hidden = hbm.shape("x")[1]

    def load(self, name, first):
        return self.hbm.load(name, first, first + self.tile, row=self.token).float()

    def store(self, name, first, values):
        self.hbm.store(name, first, values, row=self.token)

    def add(self):
        means = []
        for first in range(0, self.hidden, self.tile):
            self.last = self.load("x", first).add(self.load("residual", first))
            self.store("sum", first, self.last)
            means.append(float(self.last.double().square().sum() / self.hidden))
        return sum(means)


def add_rms_norm(hbm, eps, tile):
    rows = [Row(hbm, token, tile) for token in range(hbm.shape("x")[0])]
    hidden = hbm.shape("x")[1]
    weight = hbm.load("weight") if hidden <= tile else None
    for row in rows:
        scale = (row.add() + eps) ** -0.5
        if weight is not None:
            row.store("y", 0, row.last * scale * weight.float())
            continue
        for first in range(0, hidden, tile):
            part = hbm.load("weight", first, first + tile).float()
            row.store("y", first, row.load("sum", first) * (part * scale))

# %% nbgrader={"grade": false, "grade_id": "swiglu", "locked": false, "schema_version": 3, "solution": true, "task": false}
from collections import deque


def swiglu(hbm, tile):
    tokens, inner = hbm.shape("y")
    work = deque((token, first) for token in range(tokens) for first in range(0, inner, tile))
    while work:
        token, first = work.pop()
        size = min(tile, inner - first)
        up = hbm.load("gate_up", inner + first, inner + first + size, row=token).double()
        gate = hbm.load("gate_up", first, first + size, row=token).double()
        hbm.store("y", first, F.silu(gate) * up, row=token)

# %% nbgrader={"grade": false, "grade_id": "swiglu-triton", "locked": false, "schema_version": 3, "solution": true, "task": false}
@triton.jit
def swiglu_kernel(gate_up, y, inner, BLOCK: tl.constexpr):
    token = tl.program_id(0)
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    there = columns < inner
    start = token * inner
    gate = tl.load(gate_up + 2 * start + columns, mask=there, other=0.0).to(tl.float32)
    y_block = gate / (1.0 + tl.exp(tl.minimum(-gate, 80.0)))
    y_block *= tl.load(gate_up + 2 * start + inner + columns, mask=there, other=0.0).to(tl.float32)
    tl.store(y + start + columns, y_block, mask=there)


def triton_swiglu(gate_up, block=64):
    gate_up = gate_up.to(DEVICE).contiguous()
    y = torch.empty(gate_up.shape[0], gate_up.shape[1] // 2, device=gate_up.device).to(gate_up.dtype)
    swiglu_kernel[(y.shape[0], triton.cdiv(y.shape[1], block))](gate_up, y, y.shape[1], BLOCK=block)
    return y

# %% nbgrader={"grade": false, "grade_id": "rope-qk", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Turner:
    def __init__(self, hbm):
        self.hbm, self.inv_freq = hbm, hbm.load("inv_freq")
        self.size = 2 * len(self.inv_freq)

    def turn(self, token, heads):
        angle = self.hbm.load("positions", token, token + 1).float() * self.inv_freq
        cos, sin = (torch.cat((part, part)) for part in (angle.cos(), angle.sin()))
        for head in range(heads):
            place = head * self.size
            x = self.hbm.load("qkv", place, place + self.size, row=token).float()
            partner = torch.cat((-x[self.size // 2 :], x[: self.size // 2]))
            self.hbm.store("qkv", place, x * cos + partner * sin, row=token)


def rope_qk(hbm, heads, kv_heads):
    turner = Turner(hbm)
    for token in range(hbm.shape("qkv")[0]):
        turner.turn(token, heads + kv_heads)

# %% nbgrader={"grade": false, "grade_id": "merge", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Product:
    def __init__(self, layer, names, norm=None):
        self.layer, self.names, self.norm = layer, names, norm

    def weight(self):
        rows = torch.cat([self.layer[name] for name in self.names])
        if self.norm is None:
            return rows
        return torch.mul(rows.float(), self.layer[self.norm].float().unsqueeze(0)).to(rows.dtype)

    def bias(self):
        found = {name: self.layer.get(f"{name}_bias") for name in self.names}
        if all(bias is None for bias in found.values()):
            return None
        return torch.cat([torch.zeros(self.layer[n].shape[0]) if b is None else b.float() for n, b in found.items()])

    def pair(self):
        return self.weight(), self.bias()


def merge(layer):
    return {
        "qkv": Product(layer, ("q", "k", "v"), "input_norm").pair(),
        "o": Product(layer, ("o",)).pair(),
        "gate_up": Product(layer, ("gate", "up"), "post_norm").pair(),
        "down": Product(layer, ("down",)).pair(),
    }


def merged_layer(x, merged, sizes, eps, linear, attend):
    q_size, k_size, v_size = sizes
    normal = x * torch.rsqrt(torch.mean(x * x, dim=-1, keepdim=True) + eps)
    weight, bias = merged["qkv"]
    qkv = linear(normal, weight, bias)
    mixed = attend(qkv[..., :q_size], qkv[..., q_size:-v_size], qkv[..., -v_size:])
    weight, bias = merged["o"]
    x = x + linear(mixed, weight, bias)
    normal = x * torch.rsqrt(torch.mean(x * x, dim=-1, keepdim=True) + eps)
    weight, bias = merged["gate_up"]
    gate, up = torch.chunk(linear(normal, weight, bias), 2, -1)
    weight, bias = merged["down"]
    return x + linear(up * F.silu(gate), weight, bias)

# %% nbgrader={"grade": false, "grade_id": "dequant-matmul", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Tile:
    def __init__(self, hbm, first, tile, group, columns):
        packed = hbm.load("codes", first, first + tile)
        codes = torch.zeros(len(packed), columns, dtype=torch.uint8)
        codes[:, ::2], codes[:, 1::2] = packed.div(16, rounding_mode="floor"), packed.remainder(16)
        groups = [torch.full((len(columns_of),), number) for number, columns_of in enumerate(torch.arange(columns).split(group))]
        place = torch.cat(groups)
        scale = hbm.load("scale", first, first + tile).float()[:, place]
        self.weight = torch.addcmul(hbm.load("minimum", first, first + tile).float()[:, place], codes.float(), scale)


def dequant_matmul(hbm, group, tile):
    x = hbm.load("x")
    batch, columns = x.shape
    for first in range(0, hbm.shape("codes")[0], tile):
        y = torch.einsum("bc,rc->br", x, Tile(hbm, first, tile, group, columns).weight)
        for row in range(batch):
            hbm.store("y", first, y[row], row=row)

# %% nbgrader={"grade": false, "grade_id": "fuse", "locked": false, "schema_version": 3, "solution": true, "task": false}
from collections import defaultdict, deque


class Maker:
    def __init__(self, ops):
        self.ops = {op["name"]: op for op in ops}
        self.open = {name: {part for part in op["of"] if part in self.ops} for name, op in self.ops.items()}
        self.readers = defaultdict(set)
        for name, parts in self.open.items():
            for part in parts:
                self.readers[part].add(name)
        self.ready = deque(name for name, parts in self.open.items() if not parts)
        self.order = []

    def finish(self, names):
        for name in names:
            for reader in self.readers[name]:
                self.open[reader].discard(name)
                if not self.open[reader]:
                    self.ready.append(reader)

    def products(self):
        while products := [name for name in self.ready if self.ops[name]["kind"] == "product"]:
            for name in products:
                self.ready.remove(name)
                self.order.append([name])
            self.finish(products)

    def by_rows(self):
        kernel, across, later = [], [], []
        while self.ready:
            name = self.ready.popleft()
            if self.ops[name]["kind"] == "product":
                later.append(name)
                continue
            kernel.append(name)
            if self.ops[name]["kind"] == "across":
                across.append(name)
            else:
                self.finish([name])
        self.ready.extend(later)
        self.finish(across)
        if kernel:
            self.order.append(kernel)

    def run(self):
        while self.ready:
            self.products()
            self.by_rows()
        return self.order


def fuse(ops, outputs):
    of = {op["name"]: op["of"] for op in ops}
    order = Maker(ops).run()
    reads = [{part for name in kernel for part in of[name]}.difference(kernel) for kernel in order]
    needed = set().union(outputs, *reads)
    return [
        {"ops": kernel, "reads": list(parts), "writes": [name for name in kernel if name in needed]}
        for kernel, parts in zip(order, reads)
    ]

# %% nbgrader={"grade": false, "grade_id": "capture", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Bucket:
    def __init__(self, device, step, rows, captured):
        self.device, self.step, self.rows = device, step, rows
        self.x, self.y = device.buffer(rows), device.buffer(rows)
        self.graph = None
        if captured:
            device.begin()
            step(self.x, self.y)
            self.graph = device.end()
        self.out = device.read(self.y)

    def __call__(self, batch):
        filled = torch.zeros(self.rows, 4)
        filled[: batch.shape[0], :] = batch
        self.device.write(self.x, filled)
        if self.graph is None:
            self.step(self.x, self.y)
        else:
            self.device.replay(self.graph)
        return self.out.narrow(0, 0, batch.shape[0]).clone()


class Graphs:
    def __init__(self, device, step, buckets):
        self.device, self.step = device, step
        self.buckets = {rows: None for rows in sorted(buckets)}

    def run(self, batches):
        return [self.bucket(len(batch))(batch) for batch in batches]

    def bucket(self, count):
        for rows, found in self.buckets.items():
            if rows >= count:
                if found is None:
                    found = self.buckets[rows] = Bucket(self.device, self.step, rows, True)
                return found
        return Bucket(self.device, self.step, count, False)

# %% nbgrader={"grade": false, "grade_id": "tactics", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Trial:
    def __init__(self, card, tile, shape, repeats):
        self.tile, self.fits, self.least = tile, True, float("inf")
        try:
            card.run(tile, shape)
            for _ in range(repeats):
                start = card.clock()
                card.run(tile, shape)
                self.least = min(self.least, card.clock() - start)
        except ValueError:
            self.fits = False


class Tuner:
    def __init__(self, card, tiles, repeats=3):
        self.settings = card, tuple(tiles), repeats
        self.winners = dict()

    def best(self, shape):
        card, tiles, repeats = self.settings
        power = next(1 << bits for bits in range(64) if 1 << bits >= shape[0])
        key = power, shape[1], shape[2]
        if self.winners.get(key) is None:
            trials = [Trial(card, tile, key, repeats) for tile in tiles]
            fitting = sorted((trial for trial in trials if trial.fits), key=lambda trial: trial.least)
            if len(fitting) == 0:
                raise ValueError("none of the tiles fits")
            self.winners[key] = fitting[0].tile
        return self.winners[key]
