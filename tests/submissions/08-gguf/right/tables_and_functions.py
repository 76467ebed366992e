"""Tables of functions, tables of values for a byte, integers as long as a block."""

# %% nbgrader={"grade": false, "grade_id": "tensor-bytes", "locked": false, "schema_version": 3, "solution": true, "task": false}
def tensor_bytes(kind, shape):
    layouts = (
        ("F32", 1, 4), ("F16", 1, 2), ("Q4_0", 32, 18), ("Q4_1", 32, 20), ("Q5_0", 32, 22), ("Q5_1", 32, 24),
        ("Q8_0", 32, 34), ("Q2_K", 256, 84), ("Q3_K", 256, 110), ("Q4_K", 256, 144), ("Q5_K", 256, 176), ("Q6_K", 256, 210),
    )
    for name, values, size in layouts:
        if name == kind:
            if int(shape[-1]) % values != 0:
                raise ValueError(f"{shape[-1]} isn't a multiple of {values}")
            return size * math.prod([*shape[:-1], shape[-1] // values])
    raise ValueError(f"no kind {kind!r}")

# %% nbgrader={"grade": false, "grade_id": "read-value", "locked": false, "schema_version": 3, "solution": true, "task": false}
def _scalar(letter):
    size = struct.calcsize("<" + letter)

    def read(data, offset, inside):
        if offset + size > len(data):
            raise ValueError("at the end")
        return struct.unpack_from("<" + letter, data, offset)[0], offset + size

    return read


def _truth(data, offset, inside):
    byte = data[offset : offset + 1]
    if byte not in (b"\0", b"\1"):
        raise ValueError("no truth value")
    return byte == b"\1", offset + 1


def _string(data, offset, inside):
    length, offset = READERS[10](data, offset, inside)
    end = offset + length
    if end > len(data):
        raise ValueError("at the end")
    return bytes(data[offset:end]).decode(), end


def _array(data, offset, inside):
    if inside > 3:
        raise ValueError("too deep")
    element, offset = READERS[4](data, offset, inside)
    count, offset = READERS[10](data, offset, inside)
    if count > len(data) - offset:
        raise ValueError("fewer bytes than elements")
    if element not in READERS:
        raise ValueError("no such kind")
    if element in NUMBERS:
        letter, size = NUMBERS[element]
        if count * size > len(data) - offset:
            raise ValueError("at the end")
        return (element, list(struct.unpack_from(f"<{count}{letter}", data, offset))), offset + count * size
    items = []
    for _ in range(count):
        item, offset = READERS[element](data, offset, inside + 1)
        items.append(item)
    return (element, items), offset


NUMBERS = {k: (l, struct.calcsize("<" + l)) for k, l in zip((0, 1, 2, 3, 4, 5, 6, 10, 11, 12), "BbHhIifQqd")}
READERS = {kind: _scalar(letter) for kind, (letter, _) in NUMBERS.items()} | {7: _truth, 8: _string, 9: _array}


def read_value(data, offset, kind):
    try:
        return READERS[kind](data, offset, 0)
    except KeyError:
        raise ValueError(f"kind {kind}") from None

# %% nbgrader={"grade": false, "grade_id": "read-header", "locked": false, "schema_version": 3, "solution": true, "task": false}
from bisect import bisect_left
from dataclasses import dataclass


@dataclass
class Head:
    data: bytes
    at: int = 0

    def __call__(self, *kinds):
        found = []
        for kind in kinds:
            value, self.at = read_value(self.data, self.at, kind)
            found.append(value)
        return found if len(found) > 1 else found[0]


def read_header(data):
    head = Head(data)
    magic, version, tensors, entries = head(UINT32, UINT32, UINT64, UINT64)
    if magic != int.from_bytes(b"GGUF", "little") or version not in {2, 3}:
        raise ValueError("magic or version")
    metadata = {}
    for _ in range(entries):
        key, kind = head(STRING, UINT32)
        if key in metadata:
            raise ValueError(key)
        metadata[key] = kind, head(kind)
    rows = {}
    for _ in range(tensors):
        name, dims = head(STRING, UINT32)
        if name in rows or dims - 1 not in range(4):
            raise ValueError(name)
        sides = tuple(head(UINT64) for _ in range(dims))
        kind, offset = head(UINT32, UINT64)
        if kind not in gguf_kinds.TENSOR_KINDS:
            raise ValueError(kind)
        rows[name] = gguf_kinds.TENSOR_KINDS[kind], sides[::-1], offset
    match metadata.get("general.alignment", (UINT32, 32)):
        case (4, alignment) if alignment and not alignment % 8:
            base = (head.at + alignment - 1) // alignment * alignment
        case _:
            raise ValueError("alignment")
    starts, stops, out = [], [], {}
    for name, (kind, shape, offset) in rows.items():
        size, start = tensor_bytes(kind, shape), base + offset
        if offset % alignment or start + size > len(data):
            raise ValueError(name)
        out[name] = kind, shape, start
        if size:
            place = bisect_left(starts, start)
            if (place and stops[place - 1] > start) or (place < len(starts) and starts[place] < start + size):
                raise ValueError("shared bytes")
            starts.insert(place, start)
            stops.insert(place, start + size)
    return metadata, out

# %% nbgrader={"grade": false, "grade_id": "dequantize", "locked": false, "schema_version": 3, "solution": true, "task": false}
LOW, HIGH = np.arange(256) % 16, np.arange(256) // 16


def dequantize(kind, data):
    names = {"F16": (2, None), "Q8_0": (34, None), "Q4_0": (18, -8), "Q4_1": (20, 0)}
    if kind not in names:
        raise ValueError(kind)
    size, shift = names[kind]
    count, rest = divmod(len(data), size)
    if rest:
        raise ValueError(rest)
    if kind == "F16":
        return np.frombuffer(data, "<f2").astype(np.float32)
    out = np.empty((count, 32), np.float32)
    for number in range(count):
        block = data[size * number : size * (number + 1)]
        d = np.frombuffer(block, "<f2", 1)[0].astype(np.float32)
        if kind == "Q8_0":
            np.multiply(np.frombuffer(block, np.int8, offset=2), d, out=out[number])
            continue
        packed = np.frombuffer(block, np.uint8, 16, size - 16)
        out[number, :16] = (LOW[packed] + shift).astype(np.float32) * d
        out[number, 16:] = (HIGH[packed] + shift).astype(np.float32) * d
        if kind == "Q4_1":
            out[number] += np.frombuffer(block, "<f2", 1, 2)[0].astype(np.float32)
    return out.reshape(count * 32)

# %% nbgrader={"grade": false, "grade_id": "k-quants", "locked": false, "schema_version": 3, "solution": true, "task": false}
def dequantize_q6_k(data):
    if len(data) % 210 != 0:
        raise ValueError(len(data))
    result = np.zeros((len(data) // 210, 256), np.float32)
    for row, start in zip(result, range(0, len(data), 210)):
        ql = np.frombuffer(data, np.uint8, 128, start).astype(int)
        qh = np.frombuffer(data, np.uint8, 64, start + 128).astype(int)
        sc = np.frombuffer(data, np.int8, 16, start + 192).astype(np.float32)
        d = np.frombuffer(data, "<f2", 1, start + 208)[0].astype(np.float32)
        for n in (0, 1):
            a, b, h = ql[64 * n : 64 * n + 32], ql[64 * n + 32 : 64 * n + 64], qh[32 * n : 32 * n + 32]
            four = ((a & 15) | (h & 3) << 4, (b & 15) | (h & 12) << 2, a >> 4 | (h & 48), b >> 4 | (h & 192) >> 2)
            row[128 * n : 128 * n + 128] = np.concatenate(four) - 32
        row *= d * sc.repeat(16)
    return result.flatten()


def dequantize_q4_k(data):
    if len(data) % 144 != 0:
        raise ValueError(len(data))
    result = [np.zeros(0, np.float32)]
    for start in range(0, len(data), 144):
        d, dmin = (float(x) for x in np.frombuffer(data, "<f2", 2, start))
        low, mid, top = (int.from_bytes(data[start + 4 + 4 * i : start + 8 + 4 * i], "little") for i in range(3))
        for part in range(8):
            shift = 8 * (part % 4)
            if part < 4:
                s, m = low >> shift & 63, mid >> shift & 63
            else:
                s = (top >> shift & 15) + (low >> shift + 6 & 3) * 16
                m = (top >> shift + 4 & 15) + (mid >> shift + 6 & 3) * 16
            packed = np.frombuffer(data, np.uint8, 32, start + 16 + 32 * (part // 2))
            q = (HIGH if part & 1 else LOW)[packed]
            result.append((d * s * q - dmin * m).astype(np.float32))
    return np.concatenate(result)

# %% nbgrader={"grade": false, "grade_id": "quantize", "locked": false, "schema_version": 3, "solution": true, "task": false}
def quantize(kind, values):
    if values.shape[-1] % 32 != 0:
        raise ValueError("rows")
    x = np.array(values, np.float32).reshape(-1, 32)
    big = np.max(np.abs(x), axis=1, keepdims=True, initial=0)
    if kind == "Q8_0":
        d = big / np.float32(127)
    elif kind == "Q4_0":
        at = (np.abs(x) == big).argmax(1)
        d = -x[range(len(x)), at][:, None] / np.float32(8)
    else:
        raise ValueError(kind)
    d = d.astype(np.float32)
    r = np.zeros_like(d)
    r[d != 0] = np.float32(1) / d[d != 0]
    y = (x * r).astype(np.float32)
    raw = np.empty((len(x), 34 if kind == "Q8_0" else 18), np.uint8)
    raw[:, :2] = d.astype(np.float16).view(np.uint8)
    if kind == "Q8_0":
        wide = y.astype(np.longdouble)
        raw[:, 2:] = np.trunc(wide + np.where(wide < 0, -0.5, 0.5)).astype(np.int8).view(np.uint8)
    else:
        q = (y + np.float32(8.5)).astype(int).clip(max=15)
        raw[:, 2:] = q[:, :16] + q[:, 16:] * 16
    return raw.tobytes()

# %% nbgrader={"grade": false, "grade_id": "write-gguf", "locked": false, "schema_version": 3, "solution": true, "task": false}
def write_gguf(metadata, tensors):
    def text(words):
        return len(words.encode()).to_bytes(8, "little") + words.encode()

    def many(value):
        element, items = value
        return struct.pack("<IQ", element, len(items)) + b"".join(map(writers[element], items))

    writers = {kind: struct.Struct("<" + letter).pack for kind, (letter, _) in NUMBERS.items()}
    writers |= {7: lambda value: b"\1" if value else b"\0", 8: text, 9: many}
    number_of = {kind: number for number, kind in gguf_kinds.TENSOR_KINDS.items()}
    alignment = metadata["general.alignment"][1] if "general.alignment" in metadata else 32
    up = lambda n: -(-n // alignment) * alignment
    for kind, shape, data in tensors.values():
        if kind not in number_of:
            raise ValueError(kind)
        if tensor_bytes(kind, shape) != len(data):
            raise ValueError(shape)
    entries = [text(key) + writers[UINT32](kind) + writers[kind](value) for key, (kind, value) in metadata.items()]
    data, table = b"", []
    blobs, total = [], 0
    for name, (kind, shape, blob) in tensors.items():
        start = up(total)
        blobs.append(b"\0" * (start - total) + blob)
        total = start + len(blob)
        table.append(
            text(name) + struct.pack("<I", len(shape)) + b"".join(writers[UINT64](side) for side in reversed(shape))
            + struct.pack("<IQ", number_of[kind], start)
        )
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata)) + b"".join(entries + table)
    return head.ljust(up(len(head)), b"\0") + b"".join(blobs) if tensors else head

# %% nbgrader={"grade": false, "grade_id": "names", "locked": false, "schema_version": 3, "solution": true, "task": false}
def _places(count, rows):
    # Where each row of GGUF's is at Hugging Face.
    n = rows // count
    return [h * n + (p // 2) + (p % 2) * (n // 2) for h in range(count) for p in range(n)]


def _other(name, table):
    *stem, end = name.split(".")
    if end not in ("weight", "bias"):
        raise ValueError(name)
    for here, there in table.items():
        parts = here.split(".")
        if len(parts) == len(stem) and all(a == b or (a == "N" and b.isdecimal()) for a, b in zip(parts, stem)):
            numbers = [b for a, b in zip(parts, stem) if a == "N"]
            if "N" in stem:
                break
            return here, f"{there.replace('N', numbers[0]) if numbers else there}.{end}"
    raise ValueError(name)


def to_hugging_face(name, array, heads, kv_heads):
    here, there = _other(name, NAMES)
    count = {"blk.N.attn_q": heads, "blk.N.attn_k": kv_heads}.get(here)
    if count:
        moved = np.zeros_like(array)
        moved[_places(count, len(array))] = array
        array = moved
    return there, array


def to_gguf(name, array, heads, kv_heads):
    here, there = _other(name, {b: a for a, b in NAMES.items()})
    count = heads if ".q_proj" in here else kv_heads if ".k_proj" in here else None
    return there, array[_places(count, len(array))] if count else array

# %% nbgrader={"grade": false, "grade_id": "integer-dot", "locked": false, "schema_version": 3, "solution": true, "task": false}
def dot_q4_0_q8_0(weights, inputs):
    if len(weights) % 18 or len(inputs) % 34:
        raise ValueError("whole blocks")
    w = np.frombuffer(weights, np.uint8).reshape(len(weights) // 18, 18)
    x = np.frombuffer(inputs, np.uint8).reshape(len(inputs) // 34, 34)
    if len(w) != len(x):
        raise ValueError("as many")
    q = np.hstack([LOW[w[:, 2:]], HIGH[w[:, 2:]]]) - 8
    p = x[:, 2:].astype(int)
    p[p > 127] -= 256
    sums = [int(a @ b) for a, b in zip(q, p)]
    halves = [np.ascontiguousarray(part[:, :2]).view("<f2").astype(float).ravel() for part in (w, x)]
    return sums, math.fsum(a * b * s for a, b, s in zip(*halves, sums))
