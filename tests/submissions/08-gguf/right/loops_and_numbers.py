"""Plain loops over bytes, struct for every number, and lists that become arrays at the end."""

# %% nbgrader={"grade": false, "grade_id": "tensor-bytes", "locked": false, "schema_version": 3, "solution": true, "task": false}
def tensor_bytes(kind, shape):
    bits = {
        "F32": (1, 32), "F16": (1, 16),
        "Q4_0": (32, 16 + 32 * 4), "Q4_1": (32, 32 + 32 * 4), "Q5_0": (32, 16 + 32 * 5), "Q5_1": (32, 32 + 32 * 5),
        "Q8_0": (32, 16 + 32 * 8),
        "Q2_K": (256, 32 + 16 * 8 + 256 * 2), "Q3_K": (256, 16 + 16 * 6 + 256 * 3),
        "Q4_K": (256, 32 + 8 * 12 + 256 * 4), "Q5_K": (256, 32 + 8 * 12 + 256 * 5), "Q6_K": (256, 16 + 16 * 8 + 256 * 6),
    }
    try:
        values, block = bits[kind]
    except KeyError:
        raise ValueError(kind) from None
    rows = 1
    for side in shape[:-1]:
        rows = rows * side
    blocks, rest = divmod(shape[-1], values)
    if rest:
        raise ValueError("no whole blocks")
    return rows * blocks * (block // 8)

# %% nbgrader={"grade": false, "grade_id": "read-value", "locked": false, "schema_version": 3, "solution": true, "task": false}
FORMATS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<B", 10: "<Q", 11: "<q", 12: "<d"}


def read_value(data, offset, kind, depth=0):
    if kind in FORMATS:
        end = offset + struct.calcsize(FORMATS[kind])
        if end > len(data):
            raise ValueError("cut off")
        value = struct.unpack(FORMATS[kind], data[offset:end])[0]
        if kind == 7:
            if value not in (0, 1):
                raise ValueError("neither true nor false")
            value = bool(value)
        return value, end
    if kind == 8:
        length, start = read_value(data, offset, 10)
        if start + length > len(data):
            raise ValueError("cut off")
        return str(data[start : start + length], "utf-8"), start + length
    if kind == 9:
        if depth >= 4:
            raise ValueError("too deep")
        element, offset = read_value(data, offset, 4)
        count, offset = read_value(data, offset, 10)
        found = []
        while len(found) < count:
            value, offset = read_value(data, offset, element, depth + 1)
            found.append(value)
        return (element, found), offset
    raise ValueError(f"kind {kind}")

# %% nbgrader={"grade": false, "grade_id": "read-header", "locked": false, "schema_version": 3, "solution": true, "task": false}
def read_header(data):
    if not data.startswith(b"GGUF"):
        raise ValueError("magic")
    version, place = read_value(data, 4, 4)
    if version != 2 and version != 3:
        raise ValueError("version")
    tensor_count, place = read_value(data, place, 10)
    metadata_count, place = read_value(data, place, 10)
    metadata, tensors, taken = {}, {}, []
    for _ in range(metadata_count):
        key, place = read_value(data, place, 8)
        kind, place = read_value(data, place, 4)
        value, place = read_value(data, place, kind)
        if key in metadata:
            raise ValueError("twice")
        metadata[key] = [kind, value]
    rows = []
    for _ in range(tensor_count):
        name, place = read_value(data, place, 8)
        dims, place = read_value(data, place, 4)
        if dims < 1 or dims > 4:
            raise ValueError("dimensions")
        shape = []
        for _ in range(dims):
            side, place = read_value(data, place, 10)
            shape.insert(0, side)
        kind, place = read_value(data, place, 4)
        offset, place = read_value(data, place, 10)
        rows.append((name, shape, kind, offset))
    alignment = 32
    if "general.alignment" in metadata:
        kind, alignment = metadata["general.alignment"]
        if kind != 4 or alignment < 8 or alignment % 8 != 0:
            raise ValueError("alignment")
    while place % alignment:
        place += alignment - place % alignment
    for name, shape, kind, offset in rows:
        if kind not in gguf_kinds.TENSOR_KINDS or name in tensors or offset % alignment:
            raise ValueError(name)
        kind = gguf_kinds.TENSOR_KINDS[kind]
        size = tensor_bytes(kind, shape)
        start = place + offset
        if start + size > len(data):
            raise ValueError("outside")
        for first, last in taken:
            if start < last and first < start + size and size:
                raise ValueError("shared")
        if size:
            taken.append((start, start + size))
        tensors[name] = [kind, shape, start]
    return [metadata, tensors]

# %% nbgrader={"grade": false, "grade_id": "dequantize", "locked": false, "schema_version": 3, "solution": true, "task": false}
def dequantize(kind, data):
    out = []
    if kind == "F16":
        if len(data) % 2:
            raise ValueError("half a number")
        for place in range(0, len(data), 2):
            out.append(struct.unpack_from("<e", data, place)[0])
    elif kind in ("Q8_0", "Q4_0", "Q4_1"):
        size = {"Q8_0": 34, "Q4_0": 18, "Q4_1": 20}[kind]
        if len(data) % size != 0:
            raise ValueError("half a block")
        for place in range(0, len(data), size):
            block = data[place : place + size]
            (d,) = struct.unpack_from("<e", block)
            if kind == "Q8_0":
                out += [d * code for code in struct.unpack_from("<32b", block, 2)]
            else:
                codes = [byte % 16 for byte in block[-16:]] + [byte // 16 for byte in block[-16:]]
                if kind == "Q4_0":
                    out += [d * (code - 8) for code in codes]
                else:
                    (m,) = struct.unpack_from("<e", block, 2)
                    out += [d * code + m for code in codes]
    else:
        raise ValueError(kind)
    return np.array(out, dtype=np.float32)

# %% nbgrader={"grade": false, "grade_id": "k-quants", "locked": false, "schema_version": 3, "solution": true, "task": false}
def dequantize_q6_k(data):
    if len(data) % 210:
        raise ValueError("half a block")
    out = []
    for start in range(0, len(data), 210):
        block = data[start : start + 210]
        (d,) = struct.unpack("<e", block[208:])
        scales = struct.unpack("<16b", block[192:208])
        for i in range(256):
            h, k, j = i // 128, i % 128 // 32, i % 32
            low = block[64 * h + 32 * (k % 2) + j] >> (4 if k >= 2 else 0) & 15
            high = block[128 + 32 * h + j] >> (2 * k) & 3
            out.append(d * scales[i // 16] * (low + 16 * high - 32))
    return np.array(out, np.float32)


def dequantize_q4_k(data):
    if len(data) % 144:
        raise ValueError("half a block")
    out = []
    for start in range(0, len(data), 144):
        block = data[start : start + 144]
        d, d_min = struct.unpack("<ee", block[:4])
        b, codes = block[4:16], block[16:]
        s, m = [], []
        for t in range(4):
            s.append(b[t] & 63)
            m.append(b[t + 4] & 63)
        for t in range(4):
            s.append((b[t + 8] & 15) + 16 * (b[t] >> 6))
            m.append((b[t + 8] >> 4) + 16 * (b[t + 4] >> 6))
        for i in range(256):
            part = i // 32
            byte = codes[32 * (part // 2) + i % 32]
            q = byte >> 4 if part % 2 else byte & 15
            out.append(d * s[part] * q - d_min * m[part])
    return np.array(out, np.float32)

# %% nbgrader={"grade": false, "grade_id": "quantize", "locked": false, "schema_version": 3, "solution": true, "task": false}
def quantize(kind, values):
    if kind not in {"Q8_0", "Q4_0"}:
        raise ValueError(kind)
    if values.shape[-1] % 32 != 0:
        raise ValueError("rows")
    f = np.float32
    flat, out = values.astype(f).ravel(), bytearray()
    for start in range(0, len(flat), 32):
        x = flat[start : start + 32]
        extreme = f(0)
        for v in x:
            if abs(v) > abs(extreme):
                extreme = v
        d = abs(extreme) / f(127) if kind == "Q8_0" else extreme / f(-8)
        r = f(1) / d if d != 0 else f(0)
        out += struct.pack("<e", d)
        if kind == "Q8_0":
            for v in x:
                y = float(v * r)  # in float64 the half is added exactly
                out += struct.pack("b", int(math.copysign(math.floor(abs(y) + 0.5), y)))
        else:
            q = [min(15, int(v * r + f(8.5))) for v in x]
            out += bytes(q[i] + 16 * q[i + 16] for i in range(16))
    return bytes(out)

# %% nbgrader={"grade": false, "grade_id": "write-gguf", "locked": false, "schema_version": 3, "solution": true, "task": false}
def write_gguf(metadata, tensors):
    def string(text):
        return struct.pack("<Q", len(text.encode())) + text.encode()

    def one(kind, value):
        if kind == 8:
            return string(value)
        if kind == 9:
            out = struct.pack("<I", value[0]) + struct.pack("<Q", len(value[1]))
            for item in value[1]:
                out += one(value[0], item)
            return out
        return struct.pack(["<B", "<b", "<H", "<h", "<I", "<i", "<f", "<?", "", "", "<Q", "<q", "<d"][kind], value)

    alignment = metadata["general.alignment"][1] if "general.alignment" in metadata else 32
    out = b"GGUF" + struct.pack("<I", 3) + struct.pack("<Q", len(tensors)) + struct.pack("<Q", len(metadata))
    for key in metadata:
        kind, value = metadata[key]
        out += string(key) + struct.pack("<I", kind) + one(kind, value)
    numbers = dict(zip(gguf_kinds.TENSOR_KINDS.values(), gguf_kinds.TENSOR_KINDS.keys()))
    offset, bodies = 0, []
    for name in tensors:
        kind, shape, data = tensors[name]
        if tensor_bytes(kind, shape) != len(data):
            raise ValueError(name)
        while offset % alignment:
            offset += 1
            bodies.append(b"\0")
        out += string(name) + struct.pack("<I", len(shape))
        for side in reversed(shape):
            out += struct.pack("<Q", side)
        out += struct.pack("<I", numbers[kind]) + struct.pack("<Q", offset)
        bodies.append(data)
        offset += len(data)
    if tensors:
        while len(out) % alignment:
            out += b"\0"
    return out + b"".join(bodies)

# %% nbgrader={"grade": false, "grade_id": "names", "locked": false, "schema_version": 3, "solution": true, "task": false}
PARTS = [
    ("attn_norm", "input_layernorm"), ("attn_q", "self_attn.q_proj"), ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"), ("attn_output", "self_attn.o_proj"), ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"), ("ffn_up", "mlp.up_proj"), ("ffn_down", "mlp.down_proj"),
]
TOP = [("token_embd", "model.embed_tokens"), ("output_norm", "model.norm"), ("output", "lm_head")]


def translated(name, here, there, before, instead):
    stem, _, end = name.rpartition(".")
    if end not in ("weight", "bias"):
        raise ValueError(name)
    for pair in TOP:
        if pair[here] == stem:
            return pair[there] + "." + end, ""
    if stem.startswith(before):
        number, _, part = stem[len(before) :].partition(".")
        for pair in PARTS:
            if pair[here] == part and number.isdecimal():
                return instead + number + "." + pair[there] + "." + end, pair[0]
    raise ValueError(name)


def to_hugging_face(name, array, heads, kv_heads):
    new, part = translated(name, 0, 1, "blk.", "model.layers.")
    count = {"attn_q": heads, "attn_k": kv_heads}.get(part)
    if count is None:
        return new, array
    n = len(array) // count
    out = np.empty_like(array)
    for head in range(count):
        for i in range(n // 2):
            for s in range(2):
                out[head * n + i + s * n // 2] = array[head * n + 2 * i + s]
    return new, out


def to_gguf(name, array, heads, kv_heads):
    new, part = translated(name, 1, 0, "model.layers.", "blk.")
    count = {"attn_q": heads, "attn_k": kv_heads}.get(part)
    if count is None:
        return new, array
    n = len(array) // count
    out = np.empty_like(array)
    for head in range(count):
        for i in range(n // 2):
            for s in range(2):
                out[head * n + 2 * i + s] = array[head * n + i + s * n // 2]
    return new, out

# %% nbgrader={"grade": false, "grade_id": "integer-dot", "locked": false, "schema_version": 3, "solution": true, "task": false}
def dot_q4_0_q8_0(weights, inputs):
    blocks, rest = divmod(len(weights), 18)
    if rest or len(inputs) != 34 * blocks:
        raise ValueError("blocks")
    sums, dot = [], 0.0
    for b in range(blocks):
        w, x = weights[18 * b : 18 * b + 18], inputs[34 * b : 34 * b + 34]
        dw, dx = struct.unpack("<e", w[:2])[0], struct.unpack("<e", x[:2])[0]
        codes = struct.unpack("<32b", x[2:])
        total = 0
        for i in range(16):
            total += ((w[2 + i] & 15) - 8) * codes[i] + ((w[2 + i] >> 4) - 8) * codes[i + 16]
        sums.append(total)
        dot += dw * dx * total
    return sums, dot
