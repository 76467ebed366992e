"""A stack in place of recursion, generators, bits taken one at a time."""

# %% nbgrader={"grade": false, "grade_id": "tensor-bytes", "locked": false, "schema_version": 3, "solution": true, "task": false}
from fractions import Fraction


def tensor_bytes(kind, shape):
    bits = {"F32": Fraction(32), "F16": Fraction(16), "Q4_0": Fraction(9, 2), "Q4_1": Fraction(5), "Q5_0": Fraction(11, 2)}
    bits |= {"Q5_1": Fraction(6), "Q8_0": Fraction(17, 2), "Q2_K": Fraction(21, 8), "Q3_K": Fraction(55, 16)}
    bits |= {"Q4_K": Fraction(9, 2), "Q5_K": Fraction(11, 2), "Q6_K": Fraction(105, 16)}
    if kind not in bits:
        raise ValueError(kind)
    width = 256 if "K" in kind else 32 if "Q" in kind else 1
    if shape[-1] % width:
        raise ValueError(shape)
    result = bits[kind] / 8
    for side in shape:
        result *= side
    return int(result)

# %% nbgrader={"grade": false, "grade_id": "read-value", "locked": false, "schema_version": 3, "solution": true, "task": false}
def read_value(data, offset, kind):
    plain = {0: ("B", 1), 1: ("b", 1), 2: ("H", 2), 3: ("h", 2), 4: ("I", 4), 5: ("i", 4), 6: ("f", 4), 7: ("?", 1)}
    plain |= {10: ("Q", 8), 11: ("q", 8), 12: ("d", 8)}
    open_arrays = []  # [element kind, how many are missing, items]
    wanted = kind
    try:
        while True:
            if wanted == ARRAY:
                if len(open_arrays) == 4:
                    raise ValueError("too deep")
                element, count = struct.unpack_from("<IQ", data, offset)
                offset += 12
                open_arrays.append([element, count, []])
                value = None
            elif wanted == STRING:
                (length,) = struct.unpack_from("<Q", data, offset)
                raw = data[offset + 8 : offset + 8 + length]
                if len(raw) != length:
                    raise ValueError("short")
                value, offset = raw.decode("utf-8", "strict"), offset + 8 + length
            elif wanted in plain:
                letter, size = plain[wanted]
                (value,) = struct.unpack_from("<" + letter, data, offset)
                if wanted == BOOL and data[offset] > 1:
                    raise ValueError("no truth value")
                offset += size
            else:
                raise ValueError("no such kind")
            if wanted != ARRAY:
                if not open_arrays:
                    return value, offset
                open_arrays[-1][1] -= 1
                open_arrays[-1][2].append(value)
            while open_arrays and open_arrays[-1][1] == 0:
                element, _, items = open_arrays.pop()
                if not open_arrays:
                    return (element, items), offset
                open_arrays[-1][1] -= 1
                open_arrays[-1][2].append((element, items))
            wanted = open_arrays[-1][0]
    except struct.error as error:
        raise ValueError("cut off") from error

# %% nbgrader={"grade": false, "grade_id": "read-header", "locked": false, "schema_version": 3, "solution": true, "task": false}
def read_header(data):
    try:
        return _read_header(data)
    except (struct.error, KeyError, IndexError) as error:
        raise ValueError("a broken file") from error


def _read_header(data):
    magic, version, tensor_count, metadata_count = struct.unpack_from("<4sIQQ", data)
    if magic != b"GGUF" or not 2 <= version <= 3:
        raise ValueError("magic, version")
    offset, metadata = 24, {}
    while len(metadata) < metadata_count:
        key, offset = read_value(data, offset, STRING)
        (kind,) = struct.unpack_from("<I", data, offset)
        value, offset = read_value(data, offset + 4, kind)
        if metadata.setdefault(key, (kind, value)) is not metadata[key] or list(metadata)[-1] != key:
            raise ValueError("twice")
        metadata[key] = (kind, value)
    table = {}
    while len(table) < tensor_count:
        before = len(table)
        name, offset = read_value(data, offset, STRING)
        (dims,) = struct.unpack_from("<I", data, offset)
        if not 1 <= dims <= 4:
            raise ValueError("dims")
        *sides, number, place = struct.unpack_from(f"<{dims}QIQ", data, offset + 4)
        offset += 4 + 8 * dims + 12
        table[name] = (gguf_kinds.TENSOR_KINDS[number], tuple(sides[::-1]), place)
        if len(table) == before:
            raise ValueError("twice")
    kind, alignment = metadata.get("general.alignment", (UINT32, 32))
    if (kind, alignment in (0,)) != (UINT32, False) or alignment % 8:
        raise ValueError("alignment")
    base = offset + -offset % alignment
    ends = [(0, base)]
    result = {}
    for name, (kind, shape, place) in table.items():
        if place % alignment:
            raise ValueError("misaligned")
        result[name] = (kind, shape, base + place)
        if size := tensor_bytes(kind, shape):
            ends.append((base + place, base + place + size))
        elif base + place > len(data):
            raise ValueError("outside")
    ends.sort()
    if any(ends[i][1] > ends[i + 1][0] for i in range(len(ends) - 1)) or (len(ends) > 1 and ends[-1][1] > len(data)):
        raise ValueError("outside or shared")
    return metadata, result

# %% nbgrader={"grade": false, "grade_id": "dequantize", "locked": false, "schema_version": 3, "solution": true, "task": false}
def dequantize(kind, data):
    def chunks(size):
        if len(data) % size:
            raise ValueError("rest")
        return (data[i : i + size] for i in range(0, len(data), size))

    def codes(packed):
        yield from (byte & 0xF for byte in packed)
        yield from (byte >> 4 for byte in packed)

    def values():
        if kind == "F16":
            for chunk in chunks(2):
                yield np.frombuffer(chunk, "<f2")[0]
        elif kind == "Q8_0":
            for chunk in chunks(34):
                d = np.float64(np.frombuffer(chunk[:2], "<f2")[0])
                yield from (d * (byte - 256 if byte > 127 else byte) for byte in chunk[2:])
        elif kind == "Q4_0":
            for chunk in chunks(18):
                d = np.float64(np.frombuffer(chunk[:2], "<f2")[0])
                yield from (d * code - 8 * d for code in codes(chunk[2:]))
        elif kind == "Q4_1":
            for chunk in chunks(20):
                d, m = np.frombuffer(chunk[:4], "<f2").astype(np.float64)
                yield from (m + d * code for code in codes(chunk[4:]))
        else:
            raise ValueError(kind)

    return np.fromiter(values(), dtype=np.float32)

# %% nbgrader={"grade": false, "grade_id": "k-quants", "locked": false, "schema_version": 3, "solution": true, "task": false}
def _bits(raw):
    return np.unpackbits(np.frombuffer(raw, np.uint8), bitorder="little").reshape(-1, 8)


def dequantize_q6_k(data):
    if len(data) % 210:
        raise ValueError("rest")
    out = [np.zeros(0, np.float32)]
    for start in range(0, len(data), 210):
        low, high = _bits(data[start : start + 128]), _bits(data[start + 128 : start + 192])
        scales = np.frombuffer(data[start + 192 : start + 208], np.int8)
        d = np.frombuffer(data[start + 208 : start + 210], "<f2").astype(np.float32)
        codes = []
        for h in range(2):
            for k in range(4):
                nibbles = low[64 * h + 32 * (k & 1) :][:32, 4 * (k >> 1) :][:, :4] @ [1, 2, 4, 8]
                pairs = high[32 * h :][:32, 2 * k :][:, :2] @ [16, 32]
                codes.append(nibbles + pairs - 32)
        out.append((np.repeat(scales.astype(np.float32), 16) * np.concatenate(codes).astype(np.float32)) * d)
    return np.concatenate(out)


def dequantize_q4_k(data):
    if len(data) % 144:
        raise ValueError("rest")
    out = [np.zeros(0, np.float32)]
    for start in range(0, len(data), 144):
        d, dmin = np.frombuffer(data[start : start + 4], "<f2").astype(np.float32)
        b = _bits(data[start + 4 : start + 16])
        six, two, four = [1, 2, 4, 8, 16, 32], [16, 32], [1, 2, 4, 8]
        s = np.concatenate([b[:4, :6] @ six, b[8:, :4] @ four + b[:4, 6:] @ two]).astype(np.float32)
        m = np.concatenate([b[4:8, :6] @ six, b[8:, 4:] @ four + b[4:8, 6:] @ two]).astype(np.float32)
        raw = np.frombuffer(data[start + 16 : start + 144], np.uint8)
        for part in range(8):
            q = raw[part // 2 * 32 :][:32] // (16 if part % 2 else 1) % 16
            out.append(d * s[part] * q.astype(np.float32) - dmin * m[part])
    return np.concatenate(out)

# %% nbgrader={"grade": false, "grade_id": "quantize", "locked": false, "schema_version": 3, "solution": true, "task": false}
def quantize(kind, values):
    if kind == "Q8_0":
        one = _one_q8_0
    elif kind == "Q4_0":
        one = _one_q4_0
    else:
        raise ValueError(kind)
    if values.shape[-1] % 32:
        raise ValueError(values.shape)
    rows = np.float32(values).reshape(-1, 32)
    return b"".join(map(one, rows))


def _inverse(d):
    return np.float32(0) if d == 0 else np.float32(1) / d


def _one_q8_0(x):
    d = np.max(np.abs(x)) / np.float32(127)
    y = x * _inverse(d)
    nearest = np.rint(y)
    ties = np.abs(y - np.trunc(y)) == 0.5
    nearest[ties] = np.trunc(y[ties]) + np.sign(y[ties])
    return np.float16(d).tobytes() + nearest.astype(np.int8).tobytes()


def _one_q4_0(x):
    extreme = sorted(range(32), key=lambda i: (-abs(x[i]), i))[0]
    d = -x[extreme] / np.float32(8)
    q = (x * _inverse(d) + np.float32(8.5)).astype(np.int32)
    q[q > 15] = 15
    return np.float16(d).tobytes() + bytes((q[:16] | q[16:] << 4).tolist())

# %% nbgrader={"grade": false, "grade_id": "write-gguf", "locked": false, "schema_version": 3, "solution": true, "task": false}
def _pieces(kind, value):
    if kind == STRING:
        yield struct.pack("<Q", len(value.encode()))
        yield value.encode()
    elif kind == ARRAY:
        yield struct.pack("<IQ", value[0], len(value[1]))
        for item in value[1]:
            yield from _pieces(value[0], item)
    else:
        names = {0: "u1", 1: "i1", 2: "u2", 3: "i2", 4: "u4", 5: "i4", 6: "f4", 7: "?", 10: "u8", 11: "i8", 12: "f8"}
        yield np.array(value, dtype="<" + names[kind]).tobytes()


def _head(metadata, tensors, offsets):
    yield b"GGUF\x03\0\0\0"
    yield from _pieces(UINT64, len(tensors))
    yield from _pieces(UINT64, len(metadata))
    for key, (kind, value) in metadata.items():
        yield from _pieces(STRING, key)
        yield from _pieces(UINT32, kind)
        yield from _pieces(kind, value)
    for name, (kind, shape, _) in tensors.items():
        yield from _pieces(STRING, name)
        yield from _pieces(UINT32, len(shape))
        yield np.array(shape[::-1], "<u8").tobytes()
        yield from _pieces(UINT32, {name: n for n, name in gguf_kinds.TENSOR_KINDS.items()}[kind])
        yield from _pieces(UINT64, offsets[name])


def write_gguf(metadata, tensors):
    for name, (kind, shape, data) in tensors.items():
        if len(data) != tensor_bytes(kind, shape):
            raise ValueError(name)
    alignment = dict(metadata).get("general.alignment", (4, 32))[1]
    offsets, end = {}, 0
    for name, (_, _, data) in tensors.items():
        offsets[name] = -(-end // alignment) * alignment
        end = offsets[name] + len(data)
    head = b"".join(_head(metadata, tensors, offsets))
    if not tensors:
        return head
    base = -(-len(head) // alignment) * alignment
    file = bytearray(base + end)
    file[: len(head)] = head
    for name, (_, _, data) in tensors.items():
        file[base + offsets[name] : base + offsets[name] + len(data)] = data
    return bytes(file)

# %% nbgrader={"grade": false, "grade_id": "names", "locked": false, "schema_version": 3, "solution": true, "task": false}
RULES = [
    ("token_embd", "model.embed_tokens"), ("output_norm", "model.norm"), ("output", "lm_head"),
    ("blk.N.attn_norm", "model.layers.N.input_layernorm"),
    ("blk.N.attn_q", "model.layers.N.self_attn.q_proj"), ("blk.N.attn_k", "model.layers.N.self_attn.k_proj"),
    ("blk.N.attn_v", "model.layers.N.self_attn.v_proj"), ("blk.N.attn_output", "model.layers.N.self_attn.o_proj"),
    ("blk.N.ffn_norm", "model.layers.N.post_attention_layernorm"), ("blk.N.ffn_gate", "model.layers.N.mlp.gate_proj"),
    ("blk.N.ffn_up", "model.layers.N.mlp.up_proj"), ("blk.N.ffn_down", "model.layers.N.mlp.down_proj"),
]


def _match(pattern, name):
    mine, given = pattern.split("."), name.split(".")
    number = None
    if len(mine) + 1 != len(given) or given[-1] not in ("weight", "bias"):
        return False, number
    for want, have in zip(mine, given):
        if want == "N":
            number = have
            if not have.isdigit():
                return False, None
        elif want != have:
            return False, None
    return True, number


def _converted(name, array, counts, source):
    for rule in RULES:
        found, number = _match(rule[source], name)
        if found:
            other = rule[1 - source].replace("N", number or "N") + "." + name.rsplit(".", 1)[1]
            count = counts.get(rule[0])
            if count:
                shape = (count, len(array) // count // 2, 2) if source == 0 else (count, 2, len(array) // count // 2)
                places = np.arange(len(array)).reshape(shape).transpose(0, 2, 1).ravel()
                array = array[places]
            return other, array
    raise ValueError(name)


def to_hugging_face(name, array, heads, kv_heads):
    return _converted(name, array, {"blk.N.attn_q": heads, "blk.N.attn_k": kv_heads}, 0)


def to_gguf(name, array, heads, kv_heads):
    return _converted(name, array, {"blk.N.attn_q": heads, "blk.N.attn_k": kv_heads}, 1)

# %% nbgrader={"grade": false, "grade_id": "integer-dot", "locked": false, "schema_version": 3, "solution": true, "task": false}
def dot_q4_0_q8_0(weights, inputs):
    if len(weights) % 18 or len(inputs) % 34:
        raise ValueError("rest")
    if len(weights) * 34 != len(inputs) * 18:
        raise ValueError("blocks")
    sums, dot = [], np.float64(0)
    for w, x in zip(range(0, len(weights), 18), range(0, len(inputs), 34)):
        packed = np.frombuffer(weights, np.uint8, 16, w + 2).astype(np.int64)
        codes = np.frombuffer(inputs, np.int8, 32, x + 2).astype(np.int64)
        sums.append((packed % 16 - 8) @ codes[:16] + (packed // 16 - 8) @ codes[16:])
        d = np.float32(np.frombuffer(weights, "<f2", 1, w)[0]) * np.float32(np.frombuffer(inputs, "<f2", 1, x)[0])
        dot += d * np.float32(sums[-1])
    return np.array(sums, dtype=np.int32), dot
