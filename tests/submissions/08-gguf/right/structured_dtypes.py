"""NumPy's structured dtypes describe each block; a cursor class reads the head."""

# %% nbgrader={"grade": false, "grade_id": "tensor-bytes", "locked": false, "schema_version": 3, "solution": true, "task": false}
BLOCK = {
    "F32": np.dtype("<f4"), "F16": np.dtype("<f2"),
    "Q4_0": np.dtype([("d", "<f2"), ("q", "u1", 16)]), "Q4_1": np.dtype([("d", "<f2"), ("m", "<f2"), ("q", "u1", 16)]),
    "Q5_0": np.dtype([("d", "<f2"), ("h", "u1", 4), ("q", "u1", 16)]),
    "Q5_1": np.dtype([("d", "<f2"), ("m", "<f2"), ("h", "u1", 4), ("q", "u1", 16)]),
    "Q8_0": np.dtype([("d", "<f2"), ("q", "i1", 32)]),
    "Q2_K": np.dtype([("s", "u1", 16), ("q", "u1", 64), ("d", "<f2", 2)]),
    "Q3_K": np.dtype([("h", "u1", 32), ("q", "u1", 64), ("s", "u1", 12), ("d", "<f2")]),
    "Q4_K": np.dtype([("d", "<f2"), ("m", "<f2"), ("s", "u1", 12), ("q", "u1", (4, 32))]),
    "Q5_K": np.dtype([("d", "<f2", 2), ("s", "u1", 12), ("h", "u1", 32), ("q", "u1", 128)]),
    "Q6_K": np.dtype([("l", "u1", (2, 64)), ("h", "u1", (2, 32)), ("s", "i1", 16), ("d", "<f2")]),
}


def tensor_bytes(kind, shape):
    if kind not in BLOCK:
        raise ValueError(kind)
    values = {"F": 1, "0": 32, "1": 32, "K": 256}[kind[0] if kind[0] == "F" else kind[-1]]
    shape = [int(side) for side in shape]
    if shape[-1] % values:
        raise ValueError(shape)
    return math.prod(shape[:-1]) * (shape[-1] // values) * BLOCK[kind].itemsize

# %% nbgrader={"grade": false, "grade_id": "read-value", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Cursor:
    def __init__(self, data, place=0):
        self.data, self.place = memoryview(data), place

    def raw(self, count):
        part = self.data[self.place : self.place + count] if count < 2**62 else b""
        if len(part) < count:
            raise ValueError(f"{count} bytes wanted, {len(part)} there")
        self.place += count
        return part

    def number(self, size, signed=False):
        return int.from_bytes(self.raw(size), "little", signed=signed)

    def value(self, kind, around=0):
        match kind:
            case 0 | 2 | 4:
                return self.number(2 ** (kind // 2))
            case 1 | 3 | 5:
                return self.number(2 ** (kind // 2), signed=True)
            case 10 | 11:
                return self.number(8, signed=kind == 11)
            case 6:
                return float(np.frombuffer(self.raw(4), "<f4")[0])
            case 12:
                return float(np.frombuffer(self.raw(8), "<f8")[0])
            case 7:
                return {0: False, 1: True}[self._checked(self.number(1))]
            case 8:
                return bytes(self.raw(self.number(8))).decode("utf-8")
            case 9:
                if around >= 4:
                    raise ValueError("arrays in arrays in arrays")
                element, count = self.number(4), self.number(8)
                if count > len(self.data):
                    raise ValueError("each element has a byte at least")
                return element, [self.value(element, around + 1) for _ in range(count)]
        raise ValueError(f"kind {kind}")

    @staticmethod
    def _checked(byte):
        if byte > 1:
            raise ValueError("not a truth value")
        return byte


def read_value(data, offset, kind):
    cursor = Cursor(data, offset)
    value = cursor.value(kind)
    return value, cursor.place

# %% nbgrader={"grade": false, "grade_id": "read-header", "locked": false, "schema_version": 3, "solution": true, "task": false}
def read_header(data):
    cursor = Cursor(data)
    if bytes(cursor.raw(4)) != b"GGUF" or cursor.number(4) not in (2, 3):
        raise ValueError("magic or version")
    count, entries = cursor.number(8), cursor.number(8)
    if count > len(data) or entries > len(data):
        raise ValueError("more than there can be")
    pairs = []
    for _ in range(entries):
        key = cursor.value(8)
        kind = cursor.number(4)
        pairs.append((key, (kind, cursor.value(kind))))
    metadata = dict(pairs)
    if len(metadata) < len(pairs):
        raise ValueError("a key twice")
    infos = []
    for _ in range(count):
        name, dims = cursor.value(8), cursor.number(4)
        if dims not in range(1, 5):
            raise ValueError("dimensions")
        sides = [cursor.number(8) for _ in range(dims)]
        infos.append((name, tuple(reversed(sides)), cursor.number(4), cursor.number(8)))
    if len({name for name, *_ in infos}) < len(infos):
        raise ValueError("a name twice")
    kind, step = metadata.get("general.alignment", (UINT32, 32))
    if kind != UINT32 or not step or step & 7:
        raise ValueError("alignment")
    base = cursor.place + (step - cursor.place % step) % step
    tensors = {}
    for name, shape, number, offset in infos:
        if number not in gguf_kinds.TENSOR_KINDS or offset % step:
            raise ValueError(name)
        tensors[name] = (gguf_kinds.TENSOR_KINDS[number], shape, base + offset)
    last = 0
    for kind, shape, start in sorted(tensors.values(), key=lambda each: (each[2], math.prod(each[1]))):
        size = tensor_bytes(kind, shape)
        if start + size > len(data) or (size > 0 and start < last):
            raise ValueError("data")
        last = max(last, start + size) if size else last
    return metadata, tensors

# %% nbgrader={"grade": false, "grade_id": "dequantize", "locked": false, "schema_version": 3, "solution": true, "task": false}
def _blocks(kind, data):
    if len(data) % BLOCK[kind].itemsize:
        raise ValueError("no whole blocks")
    return np.frombuffer(data, BLOCK[kind])


def dequantize(kind, data):
    if kind not in ("F16", "Q8_0", "Q4_0", "Q4_1"):
        raise ValueError(kind)
    blocks = _blocks(kind, data)
    if kind == "F16":
        return blocks.astype("f4")
    d, q = blocks["d"].astype("f4")[:, None], blocks["q"]
    if kind != "Q8_0":
        q = np.hstack((np.bitwise_and(q, 0x0F), np.right_shift(q, 4))).astype("i1")
    if kind == "Q4_0":
        q = q - np.int8(8)
    m = blocks["m"].astype("f4")[:, None] if kind == "Q4_1" else np.float32(0)
    return (q * d + m).reshape(-1)

# %% nbgrader={"grade": false, "grade_id": "k-quants", "locked": false, "schema_version": 3, "solution": true, "task": false}
def dequantize_q6_k(data):
    blocks = _blocks("Q6_K", data)
    i = np.arange(256)
    h, k, j = i // 128, i // 32 % 4, i % 32
    low = blocks["l"][:, h, 32 * (k % 2) + j] >> (4 * (k // 2)).astype("u1")
    high = blocks["h"][:, h, j] >> (2 * k).astype("u1")
    q = (low & 15).astype("i2") + 16 * (high & 3).astype("i2") - 32
    s = blocks["s"][:, i // 16].astype("i2")
    return (blocks["d"].astype("f8")[:, None] * (q * s)).astype("f4").ravel()


def dequantize_q4_k(data):
    blocks = _blocks("Q4_K", data)
    b = blocks["s"].astype(int)
    s, m = np.zeros((2, len(blocks), 8), int)
    for t in range(4):
        s[:, t], m[:, t] = b[:, t] & 0b111111, b[:, t + 4] & 0b111111
        s[:, t + 4] = b[:, t + 8] & 15 | (b[:, t] & 0b11000000) >> 2
        m[:, t + 4] = b[:, t + 8] >> 4 | (b[:, t + 4] & 0b11000000) >> 2
    i = np.arange(256)
    q = blocks["q"][:, i // 64, i % 32] >> (i // 32 % 2 * 4).astype("u1") & 15
    d, dmin = blocks["d"].astype("f8")[:, None], blocks["m"].astype("f8")[:, None]
    return (d * s[:, i // 32] * q - dmin * m[:, i // 32]).astype("f4").ravel()

# %% nbgrader={"grade": false, "grade_id": "quantize", "locked": false, "schema_version": 3, "solution": true, "task": false}
def quantize(kind, values):
    if kind not in ("Q8_0", "Q4_0") or values.shape[-1] % 32:
        raise ValueError(kind)
    x = np.ascontiguousarray(values, dtype=np.float32).reshape(-1, 32)
    out = np.zeros(len(x), BLOCK[kind])
    top, bottom = x.max(1), x.min(1)
    size = np.maximum(top, -bottom)
    if kind == "Q8_0":
        d = size / np.float32(127)
    else:
        first = np.argmax(np.abs(x) == size[:, None], axis=1)
        d = x[np.arange(len(x)), first] * np.float32(-0.125)
    with np.errstate(divide="ignore"):
        r = np.where(d == 0, np.float32(0), np.float32(1) / d)
    y = x * r[:, None]
    out["d"] = d
    if kind == "Q8_0":
        part, whole = np.modf(y)
        out["q"] = whole + np.where(np.abs(part) >= 0.5, np.sign(y), 0)
    else:
        q = np.clip(np.floor(y + np.float32(8.5)), 0, 15).astype("u1")
        out["q"] = q[:, :16] + (q[:, 16:] << 4)
    return out.tobytes()

# %% nbgrader={"grade": false, "grade_id": "write-gguf", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Writer:
    def __init__(self):
        self.raw = bytearray()

    def number(self, value, size, signed=False):
        self.raw += value.to_bytes(size, "little", signed=signed)

    def string(self, text):
        self.number(len(text.encode()), 8)
        self.raw += text.encode()

    def value(self, kind, value):
        match kind:
            case 0 | 1 | 2 | 3 | 4 | 5:
                self.number(value, 2 ** (kind // 2), signed=kind % 2 == 1)
            case 10 | 11:
                self.number(value, 8, signed=kind == 11)
            case 6 | 12:
                self.raw += np.array(value, "<f4" if kind == 6 else "<f8").tobytes()
            case 7:
                self.raw.append(value)
            case 8:
                self.string(value)
            case 9:
                element, items = value
                self.number(element, 4)
                self.number(len(items), 8)
                for item in items:
                    self.value(element, item)

    def pad(self, alignment):
        while len(self.raw) % alignment:
            self.raw.append(0)


def write_gguf(metadata, tensors):
    alignment = metadata.get("general.alignment", (UINT32, 32))[1]
    head, body = Writer(), Writer()
    head.raw += b"GGUF"
    head.number(3, 4)
    head.number(len(tensors), 8)
    head.number(len(metadata), 8)
    for key, (kind, value) in metadata.items():
        head.string(key)
        head.number(kind, 4)
        head.value(kind, value)
    for name, (kind, shape, data) in tensors.items():
        if kind not in BLOCK or tensor_bytes(kind, shape) != len(data):
            raise ValueError(name)
        body.pad(alignment)
        head.string(name)
        head.number(len(shape), 4)
        for side in shape[::-1]:
            head.number(side, 8)
        head.number({k: n for n, k in gguf_kinds.TENSOR_KINDS.items()}[kind], 4)
        head.number(len(body.raw), 8)
        body.raw += data
    if tensors:
        head.pad(alignment)
    return bytes(head.raw + body.raw)

# %% nbgrader={"grade": false, "grade_id": "names", "locked": false, "schema_version": 3, "solution": true, "task": false}
def _both():
    both = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
    for here, there in zip(
        "attn_norm attn_q attn_k attn_v attn_output ffn_norm ffn_gate ffn_up ffn_down".split(),
        "input_layernorm self_attn.q_proj self_attn.k_proj self_attn.v_proj self_attn.o_proj "
        "post_attention_layernorm mlp.gate_proj mlp.up_proj mlp.down_proj".split(),
    ):
        both[f"blk.#.{here}"] = f"model.layers.#.{there}"
    return {f"{a}.{end}": f"{b}.{end}" for a, b in both.items() for end in ("weight", "bias")}


def _general(name):
    parts = name.split(".")
    numbers = [part for part in parts if part.isdigit()]
    return ".".join("#" if part.isdigit() else part for part in parts), (numbers + [""])[0]


def to_hugging_face(name, array, heads, kv_heads):
    general, number = _general(name)
    if general not in _both():
        raise ValueError(name)
    for letter, count in (("q", heads), ("k", kv_heads)):
        if f"attn_{letter}." in general:
            per_head = np.split(array, count)
            array = np.concatenate([part for rows in per_head for part in (rows[0::2], rows[1::2])])
    return _both()[general].replace("#", number), array


def to_gguf(name, array, heads, kv_heads):
    general, number = _general(name)
    back = {b: a for a, b in _both().items()}
    if general not in back:
        raise ValueError(name)
    for letter, count in (("q", heads), ("k", kv_heads)):
        if f"attn_{letter}." in back[general]:
            moved = np.empty_like(array)
            n = len(array) // count
            for start in range(0, len(array), n):
                rows = array[start : start + n]
                moved[start : start + n : 2] = rows[: n // 2]
                moved[start + 1 : start + n : 2] = rows[n // 2 :]
            array = moved
    return back[general].replace("#", number), array

# %% nbgrader={"grade": false, "grade_id": "integer-dot", "locked": false, "schema_version": 3, "solution": true, "task": false}
def dot_q4_0_q8_0(weights, inputs):
    w, x = _blocks("Q4_0", weights), _blocks("Q8_0", inputs)
    if w.shape != x.shape:
        raise ValueError("different rows")
    low, high = (w["q"] & 15).astype("i4"), (w["q"] >> 4).astype("i4")
    codes = x["q"].astype("i4")
    sums = np.einsum("bi,bi->b", low, codes[:, :16]) + np.einsum("bi,bi->b", high, codes[:, 16:])
    sums = sums - 8 * codes.sum(1)
    return sums, np.dot(w["d"].astype("f8") * x["d"].astype("f8"), sums)
