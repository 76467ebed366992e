"""Small functions and generators; relaxation until nothing changes."""

# %% nbgrader={"grade": false, "grade_id": "traffic", "locked": false, "schema_version": 3, "solution": true, "task": false}
def traffic(ops, groups, sizes, outputs):
    def inputs(group):
        needed = set()
        for op in ops:
            if op["name"] in group:
                needed.update(op["of"])
        return needed.difference(group)

    loads = [inputs(group) for group in groups]
    stores = [
        {name for name in group if name in outputs or any(name in other for other in loads)} for group in groups
    ]
    count = lambda trips: sum(sizes[name] for trip in trips for name in trip)
    return count(loads), count(stores)

# %% nbgrader={"grade": false, "grade_id": "add-rms-norm", "locked": false, "schema_version": 3, "solution": true, "task": false}
def add_rms_norm(hbm, eps, tile):
    tokens, hidden = hbm.shape("x")

    def tiles():
        for first in range(0, hidden, tile):
            yield first, first + tile

    def pass_one(token):
        squares = 0
        for place in tiles():
            s = hbm.load("x", *place, row=token).double() + hbm.load("residual", *place, row=token).double()
            hbm.store("sum", place[0], s, row=token)
            squares = squares + (s**2).sum()
        return s, torch.sqrt(squares / hidden + eps)

    if tile >= hidden:
        w = hbm.load("weight").double()
        for token in range(tokens):
            s, root = pass_one(token)
            hbm.store("y", 0, w * s / root, row=token)
        return None
    for token in range(tokens):
        _, root = pass_one(token)
        for place in tiles():
            s, w = hbm.load("sum", *place, row=token).double(), hbm.load("weight", *place).double()
            hbm.store("y", place[0], w * s / root, row=token)

# %% nbgrader={"grade": false, "grade_id": "swiglu", "locked": false, "schema_version": 3, "solution": true, "task": false}
def swiglu(hbm, tile):
    tokens, columns = hbm.shape("gate_up")
    inner = columns // 2

    def half(start, token, first):
        return hbm.load("gate_up", start + first, min(start + first + tile, start + inner), row=token).float()

    for token, first in ((t, f) for t in range(tokens) for f in range(0, inner, tile)):
        gate = half(0, token, first).clone()
        hbm.store("y", first, gate * torch.sigmoid(gate) * half(inner, token, first), row=token)

# %% nbgrader={"grade": false, "grade_id": "swiglu-triton", "locked": false, "schema_version": 3, "solution": true, "task": false}
@triton.jit
def opened(gate):
    return gate * tl.sigmoid(gate)


@triton.jit
def swiglu_kernel(gate_up, y, inner, BLOCK: tl.constexpr):
    gate_up += tl.program_id(0) * inner * 2
    y += tl.program_id(0) * inner
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    gate = tl.load(gate_up + at, mask=at < inner, other=0.0).to(tl.float32)
    up = tl.load(gate_up + at + inner, mask=at < inner, other=0.0).to(tl.float32)
    tl.store(y + at, opened(gate) * up, mask=at < inner)


def triton_swiglu(gate_up, block=64):
    gate_up = gate_up.to(DEVICE).contiguous()
    inner = gate_up.shape[-1] // 2
    y = torch.empty_like(gate_up[:, :inner]).contiguous()
    grid = lambda meta: (gate_up.shape[0], triton.cdiv(inner, meta["BLOCK"]))
    swiglu_kernel[grid](gate_up, y, inner, BLOCK=block)
    return y

# %% nbgrader={"grade": false, "grade_id": "rope-qk", "locked": false, "schema_version": 3, "solution": true, "task": false}
def rope_qk(hbm, heads, kv_heads):
    inv_freq = hbm.load("inv_freq")
    half = inv_freq.shape[0]

    def load(start, token):
        return hbm.load("qkv", start, start + half, row=token).float().clone()

    for token in range(hbm.shape("positions")[0]):
        angle = hbm.load("positions", token, token + 1).to(torch.float32) * inv_freq
        cos, sin = torch.cos(angle), torch.sin(angle)
        for head in range(heads + kv_heads):
            left, right = 2 * half * head, 2 * half * head + half
            a, b = load(left, token), load(right, token)
            hbm.store("qkv", left, a * cos - b * sin, row=token)
            hbm.store("qkv", right, b * cos + a * sin, row=token)

# %% nbgrader={"grade": false, "grade_id": "merge", "locked": false, "schema_version": 3, "solution": true, "task": false}
def merge(layer):
    def fold(names, norm):
        return torch.cat([torch.einsum("oi,i->oi", layer[n].float(), layer[norm].float()).to(layer[n].dtype) for n in names])

    def bias_of(names):
        given = [layer[f"{n}_bias"] for n in names]
        if all(b is None for b in given):
            return None
        return torch.cat([torch.zeros(len(layer[n]), dtype=layer[n].dtype) if b is None else b for n, b in zip(names, given)])

    return {
        "down": (layer["down"], None),
        "gate_up": (fold(["gate", "up"], "post_norm"), None),
        "o": (layer["o"], bias_of("o")),
        "qkv": (fold("qkv", "input_norm"), bias_of("qkv")),
    }


def merged_layer(x, merged, sizes, eps, linear, attend):
    rms = lambda x: (x.double() / (x.double().pow(2).mean(1, keepdim=True) + eps).sqrt()).to(x.dtype)

    def attention(x):
        qkv = linear(rms(x), *merged["qkv"])
        starts = (0, sizes[0], sizes[0] + sizes[1])
        return linear(attend(*(qkv.narrow(1, start, size) for start, size in zip(starts, sizes))), *merged["o"])

    def mlp(x):
        gate, up = linear(rms(x), *merged["gate_up"]).unflatten(1, (2, -1)).unbind(1)
        return linear(gate / (1 + torch.exp(-gate)) * up, *merged["down"])

    x = attention(x) + x
    return mlp(x) + x

# %% nbgrader={"grade": false, "grade_id": "dequant-matmul", "locked": false, "schema_version": 3, "solution": true, "task": false}
def dequant_matmul(hbm, group, tile):
    # A group's share of the product: scale times (x . codes), and minimum times the sum of x.
    x = hbm.load("x")
    columns = x.shape[1]
    for first in range(0, hbm.shape("codes")[0], tile):
        packed, scale, minimum = (hbm.load(name, first, first + tile) for name in ("codes", "scale", "minimum"))
        part = torch.zeros(len(x), len(packed))
        for number, start in enumerate(range(0, columns, group)):
            stop = min(start + group, columns)
            mine = torch.arange(start, stop)
            shift = torch.where(mine % 2 == 0, 4, 0)
            codes = (packed[:, mine // 2].int() >> shift) % 16
            own = x[:, start:stop]
            part += own @ codes.float().T * scale[:, number].float()
            part += own.sum(1, keepdim=True) * minimum[:, number].float()
        for row in range(len(x)):
            hbm.store("y", first, part[row], row=row)

# %% nbgrader={"grade": false, "grade_id": "fuse", "locked": false, "schema_version": 3, "solution": true, "task": false}
def fuse(ops, outputs):
    kind = {op["name"]: op["kind"] for op in ops}
    number = {name: int(kind[name] != "product") for name in kind}
    edges = [
        (part, op["name"], int(op["kind"] != "product" and kind[part] in ("product", "across")))
        for op in ops
        for part in op["of"]
        if part in kind
    ]
    changed = True
    while changed:
        changed = False
        for tail, head, more in edges:
            if number[head] < number[tail] + more:
                number[head], changed = number[tail] + more, True

    def groups():
        for stage in range(max(number.values(), default=-1) + 1):
            group = [name for name in kind if number[name] == stage and kind[name] != "product"]
            if group:
                yield group
            for name in kind:
                if number[name] == stage and kind[name] == "product":
                    yield [name]

    of = {op["name"]: op["of"] for op in ops}

    def needs(group):
        return {part for name in group for part in of[name] if part not in group}

    made = list(groups())
    wanted = {*outputs}
    for group in made:
        wanted |= needs(group)
    return [dict(ops=group, reads=sorted(needs(group)), writes=sorted(wanted & {*group})) for group in made]

# %% nbgrader={"grade": false, "grade_id": "capture", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Graphs:
    def __init__(self, device, step, buckets):
        made = {}

        def buffers(rows):
            return device.buffer(rows), device.buffer(rows)

        def graph_for(size):
            if size not in made:
                x, y = buffers(size)
                device.begin()
                step(x, y)
                made[size] = x, y, device.end()
            return made[size]

        def one(rows):
            count = rows.size(0)
            size = min((bucket for bucket in buckets if bucket >= count), default=None)
            if size is None:
                x, y = buffers(count)
                device.write(x, rows)
                step(x, y)
            else:
                x, y, graph = graph_for(size)
                device.write(x, torch.vstack([rows, rows.new_zeros(size - count, 4)]))
                device.replay(graph)
            return device.read(y)[:count] * 1.0

        self.one = one

    def run(self, batches):
        return [self.one(rows) for rows in batches]

# %% nbgrader={"grade": false, "grade_id": "tactics", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Tuner:
    def __init__(self, card, tiles, repeats=3):
        self.card, self.tiles, self.repeats = card, tiles, repeats
        self.found = {}

    def best(self, shape):
        shape = (self._up(shape[0]), *shape[1:])
        if shape not in self.found:
            tried = list(self._tried(shape))
            if not tried:
                raise ValueError("no tile fits")
            self.found[shape] = min(tried)[2]
        return self.found[shape]

    def _up(self, tokens):
        return tokens if tokens & (tokens - 1) == 0 else self._up(tokens + (tokens & -tokens))

    def _tried(self, shape):
        for place, tile in enumerate(self.tiles):
            try:
                self.card.run(tile, shape)
            except ValueError:
                continue
            yield min(self._timed(tile, shape)), place, tile

    def _timed(self, tile, shape):
        for _ in range(self.repeats):
            start = self.card.clock()
            self.card.run(tile, shape)
            yield self.card.clock() - start
