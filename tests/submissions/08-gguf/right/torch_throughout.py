"""PyTorch wherever arrays are computed with; tensors are given back."""

# %% nbgrader={"grade": false, "grade_id": "tensor-bytes", "locked": false, "schema_version": 3, "solution": true, "task": false}
SIZES = {"F32": 4, "F16": 2, "Q4_0": 18, "Q4_1": 20, "Q5_0": 22, "Q5_1": 24, "Q8_0": 34}
SIZES |= {"Q2_K": 84, "Q3_K": 110, "Q4_K": 144, "Q5_K": 176, "Q6_K": 210}


def tensor_bytes(kind, shape):
    if kind not in SIZES:
        raise ValueError(f"unknown kind {kind}")
    block = 1 if kind[0] == "F" else 256 if kind.endswith("_K") else 32
    *rest, row = shape
    if row % block != 0:
        raise ValueError(f"{row} % {block}")
    total = row // block * SIZES[kind]
    for side in rest:
        total *= side
    return total

# %% nbgrader={"grade": false, "grade_id": "read-value", "locked": false, "schema_version": 3, "solution": true, "task": false}
import io


def _exactly(stream, count):
    got = stream.read(min(count, 2**40))
    if len(got) != count:
        raise ValueError("the end")
    return got


def _read(stream, kind, levels):
    if kind == STRING:
        (size,) = struct.unpack("<Q", _exactly(stream, 8))
        return _exactly(stream, size).decode()
    if kind == ARRAY:
        if levels == 0:
            raise ValueError("too many levels")
        element, count = struct.unpack("<IQ", _exactly(stream, 12))
        items = []
        for _ in range(count):
            items.append(_read(stream, element, levels - 1))
        return element, items
    code = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d"}.get(kind)
    if code is None:
        raise ValueError("no such kind")
    value = struct.unpack("<" + code, _exactly(stream, struct.calcsize("<" + code)))[0]
    if kind == BOOL:
        if value > 1:
            raise ValueError("no truth value")
        return value == 1
    return value


def read_value(data, offset, kind):
    stream = io.BytesIO(data)
    stream.seek(offset)
    return _read(stream, kind, 4), stream.tell()

# %% nbgrader={"grade": false, "grade_id": "read-header", "locked": false, "schema_version": 3, "solution": true, "task": false}
def read_header(data):
    stream = io.BytesIO(data)
    if stream.read(4) != b"GGUF" or _read(stream, UINT32, 0) not in (2, 3):
        raise ValueError("not a file of ours")
    tensors, entries = _read(stream, UINT64, 0), _read(stream, UINT64, 0)
    metadata = {}
    while entries:
        key = _read(stream, STRING, 0)
        if key in metadata:
            raise ValueError("double key")
        kind = _read(stream, UINT32, 0)
        metadata[key] = (kind, _read(stream, kind, 4))
        entries -= 1
    table = []
    while tensors:
        name = _read(stream, STRING, 0)
        sides = _read(stream, UINT32, 0)
        if not 0 < sides < 5:
            raise ValueError("dimensions")
        shape = [_read(stream, UINT64, 0) for _ in range(sides)]
        shape.reverse()
        number, offset = _read(stream, UINT32, 0), _read(stream, UINT64, 0)
        try:
            table.append((offset, name, gguf_kinds.TENSOR_KINDS[number], tuple(shape)))
        except KeyError:
            raise ValueError("no such kind") from None
        tensors -= 1
    kind, alignment = metadata.get("general.alignment", (UINT32, 32))
    if kind != UINT32 or alignment % 8 or not alignment:
        raise ValueError("alignment")
    base = math.ceil(stream.tell() / alignment) * alignment
    found, end = {}, base
    for offset, name, kind, shape in sorted(table):
        size = tensor_bytes(kind, shape)
        if name in found or offset % alignment or base + offset + size > len(data):
            raise ValueError(name)
        if size:
            if base + offset < end:
                raise ValueError("overlap")
            end = base + offset + size
        found[name] = (kind, shape, base + offset)
    return metadata, found

# %% nbgrader={"grade": false, "grade_id": "dequantize", "locked": false, "schema_version": 3, "solution": true, "task": false}
def _rows(data, size):
    if len(data) % size:
        raise ValueError("not whole blocks")
    if not data:
        return torch.zeros(0, size, dtype=torch.uint8)
    return torch.frombuffer(bytearray(data), dtype=torch.uint8).view(-1, size)


def _half(columns):
    return columns.contiguous().view(torch.float16).float()


def dequantize(kind, data):
    if kind == "F16":
        return _half(_rows(data, 2)).flatten()
    if kind == "Q8_0":
        blocks = _rows(data, 34)
        return (blocks[:, 2:].contiguous().view(torch.int8) * _half(blocks[:, :2])).flatten()
    if kind not in ("Q4_0", "Q4_1"):
        raise ValueError(kind)
    blocks = _rows(data, 18 if kind == "Q4_0" else 20)
    codes = torch.hstack((blocks[:, -16:] & 15, blocks[:, -16:] >> 4)).float()
    if kind == "Q4_0":
        return ((codes - 8) * _half(blocks[:, :2])).flatten()
    return torch.addcmul(_half(blocks[:, 2:4]), codes, _half(blocks[:, :2])).flatten()

# %% nbgrader={"grade": false, "grade_id": "k-quants", "locked": false, "schema_version": 3, "solution": true, "task": false}
def dequantize_q6_k(data):
    blocks = _rows(data, 210)
    out = torch.empty(len(blocks), 2, 4, 32)
    low, high = blocks[:, :128].unflatten(1, (2, 2, 32)), blocks[:, 128:192].unflatten(1, (2, 32))
    for k in range(4):
        q = (low[:, :, k % 2] >> 4 * (k // 2)) & 15 | ((high >> 2 * k) & 3) << 4
        out[:, :, k] = q.float() - 32
    small = blocks[:, 192:208].contiguous().view(torch.int8).float() * _half(blocks[:, 208:])
    return (out.view(-1, 16, 16) * small[:, :, None]).flatten()


def dequantize_q4_k(data):
    blocks = _rows(data, 144)
    d, dmin = _half(blocks[:, :2]), _half(blocks[:, 2:4])
    a, b, c = blocks[:, 4:8], blocks[:, 8:12], blocks[:, 12:16]
    s = torch.hstack((a % 64, c % 16 + a // 64 * 16)).float() * d
    m = torch.hstack((b % 64, c // 16 + b // 64 * 16)).float() * dmin
    codes = blocks[:, 16:].unflatten(1, (4, 32))
    q = torch.stack((codes % 16, codes // 16), dim=2).flatten(1, 2).float()
    return (q * s[:, :, None] - m[:, :, None]).flatten()

# %% nbgrader={"grade": false, "grade_id": "quantize", "locked": false, "schema_version": 3, "solution": true, "task": false}
def quantize(kind, values):
    x = torch.from_numpy(values.copy()).float()
    if kind not in ("Q8_0", "Q4_0") or x.shape[-1] % 32:
        raise ValueError(kind)
    x = x.reshape(-1, 32)
    if not len(x):
        return b""
    place = x.abs().argmax(1, keepdim=True)
    e = x.gather(1, place)
    d = e.abs() / 127 if kind == "Q8_0" else e / -8
    r = torch.where(d == 0, torch.zeros(()), 1 / d)
    y = x * r
    if kind == "Q8_0":
        y = y.double()
        codes = (y.sign() * (y.abs() + 0.5).floor()).to(torch.int8).view(torch.uint8)
    else:
        q = (y + 8.5).trunc().clamp(max=15).to(torch.uint8)
        codes = q[:, :16] + 16 * q[:, 16:]
    return torch.hstack((d.half().view(torch.uint8), codes)).numpy().tobytes()

# %% nbgrader={"grade": false, "grade_id": "write-gguf", "locked": false, "schema_version": 3, "solution": true, "task": false}
def _put(stream, kind, value):
    if kind == STRING:
        raw = bytes(value, "utf-8")
        stream.write(len(raw).to_bytes(8, "little"))
        stream.write(raw)
    elif kind == ARRAY:
        stream.write(struct.pack("<IQ", value[0], len(value[1])))
        for item in value[1]:
            _put(stream, value[0], item)
    else:
        stream.write(struct.pack("<" + "BbHhIif?  Qqd"[kind], value))


def write_gguf(metadata, tensors):
    alignment = metadata.get("general.alignment", (0, 32))[1]
    offsets, size = [], 0
    for kind, shape, data in tensors.values():
        if len(data) != tensor_bytes(kind, shape):
            raise ValueError("size")
        size += -size % alignment
        offsets.append(size)
        size += len(data)
    stream = io.BytesIO()
    stream.write(b"GGUF")
    for kind, number in ((UINT32, 3), (UINT64, len(tensors)), (UINT64, len(metadata))):
        _put(stream, kind, number)
    for key, (kind, value) in metadata.items():
        _put(stream, STRING, key)
        _put(stream, UINT32, kind)
        _put(stream, kind, value)
    for (name, (kind, shape, _)), offset in zip(tensors.items(), offsets):
        _put(stream, STRING, name)
        _put(stream, UINT32, len(shape))
        for side in shape[::-1]:
            _put(stream, UINT64, side)
        _put(stream, UINT32, next(n for n, k in gguf_kinds.TENSOR_KINDS.items() if k == kind))
        _put(stream, UINT64, offset)
    base = -(-stream.tell() // alignment) * alignment
    for (_, _, data), offset in zip(tensors.values(), offsets):
        stream.write(bytes(base + offset - stream.tell()))
        stream.write(data)
    return stream.getvalue()

# %% nbgrader={"grade": false, "grade_id": "names", "locked": false, "schema_version": 3, "solution": true, "task": false}
import re

_NAMES = {
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_output": "self_attn.o_proj",
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}
_TOP = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_BACK, _TOP_BACK = {v: k for k, v in _NAMES.items()}, {v: k for k, v in _TOP.items()}


def _reordered(array, count, to_hf):
    array = torch.from_numpy(array.copy())
    if to_hf:
        order = torch.arange(len(array)).view(count, -1, 2).transpose(1, 2).flatten()
    else:
        order = torch.arange(len(array)).view(count, 2, -1).transpose(1, 2).flatten()
    return array[order]


def to_hugging_face(name, array, heads, kv_heads):
    if match := re.fullmatch(r"(.+)\.(weight|bias)", name):
        stem, end = match.groups()
        if stem in _TOP:
            return f"{_TOP[stem]}.{end}", array
        if (match := re.fullmatch(r"blk\.(\d+)\.(\w+)", stem)) and match[2] in _NAMES:
            if match[2] == "attn_q":
                array = _reordered(array, heads, True)
            if match[2] == "attn_k":
                array = _reordered(array, kv_heads, True)
            return f"model.layers.{match[1]}.{_NAMES[match[2]]}.{end}", array
    raise ValueError(name)


def to_gguf(name, array, heads, kv_heads):
    if match := re.fullmatch(r"(.+)\.(weight|bias)", name):
        stem, end = match.groups()
        if stem in _TOP_BACK:
            return f"{_TOP_BACK[stem]}.{end}", array
        if (match := re.fullmatch(r"model\.layers\.(\d+)\.([\w.]+)", stem)) and match[2] in _BACK:
            if _BACK[match[2]] == "attn_q":
                array = _reordered(array, heads, False)
            if _BACK[match[2]] == "attn_k":
                array = _reordered(array, kv_heads, False)
            return f"blk.{match[1]}.{_BACK[match[2]]}.{end}", array
    raise ValueError(name)

# %% nbgrader={"grade": false, "grade_id": "integer-dot", "locked": false, "schema_version": 3, "solution": true, "task": false}
def dot_q4_0_q8_0(weights, inputs):
    w, x = _rows(weights, 18), _rows(inputs, 34)
    if len(w) != len(x):
        raise ValueError("blocks")
    q = torch.hstack((w[:, 2:] & 15, w[:, 2:] >> 4)).int() - 8
    sums = (q * x[:, 2:].contiguous().view(torch.int8).int()).sum(1)
    return sums, (_half(w[:, :2])[:, 0] * _half(x[:, :2])[:, 0] * sums).sum()
