"""Functions that call themselves, a row or a part at a time; hexadecimal strings; exact distances; a class for the matrix.
"""

# %% nbgrader={"grade": false, "grade_id": "quantized-bytes", "locked": false, "schema_version": 3, "solution": true, "task": false}
def quantized_bytes(numbers, bits=4, group_size=64, double_quant=False):
    if double_quant:
        groups = (numbers - 1) // group_size + 1
        # a tensor of `groups` one-byte codes, every 256 of which share 4 bytes, and the offset
        first = quantized_bytes(numbers, bits=bits, group_size=group_size) - 4 * groups
        return first + quantized_bytes(groups, bits=8, group_size=256) + 4
    return sum([(numbers * bits - 1) // 8 + 1, ((numbers - 1) // group_size + 1) * 4])


# %% nbgrader={"grade": false, "grade_id": "int8-absmax", "locked": false, "schema_version": 3, "solution": true, "task": false}
def quantize_int8(weight, per_channel=False):
    if per_channel:
        if len(weight) == 0:
            return weight.to(torch.int8), weight.new_ones(0, 1)
        parts = [quantize_int8(row[None]) for row in weight]
        return torch.cat([c for c, _ in parts]), torch.stack([s.reshape(1) for _, s in parts])
    if weight.isnan().any() or weight.isinf().any():
        raise ValueError("not finite")
    scale = max(weight.max(), -weight.min()) / 127 if weight.numel() else weight.new_tensor(0.0)
    if scale == 0:
        return torch.zeros_like(weight, dtype=torch.int8), scale + 1
    exact = weight.double() / scale.double()
    return torch.floor(exact + 0.5).clamp(-127, 127).to(torch.int8), scale


# %% nbgrader={"grade": false, "grade_id": "int4-groups", "locked": false, "schema_version": 3, "solution": true, "task": false}
def _one_group(numbers, top):
    low, high = numbers.min(), numbers.max()
    if low == high:
        return torch.zeros(len(numbers), dtype=torch.uint8, device=numbers.device), torch.ones_like(low), low
    step = high / top - low / top  # each divided first: the difference could overflow
    exact = (numbers.double() - low.double()) / ((high.double() - low.double()) / top)
    return exact.round().to(torch.uint8), step, low


def quantize_groups(weight, group_size=32, bits=4):
    if not (group_size >= 1 and bool(weight.isfinite().all())):
        raise ValueError("finite weights and a group_size of at least 1, please")
    parts = [_one_group(g, 2**bits - 1) for g in weight.reshape(-1).split(group_size)]
    codes, scale, minimum = zip(*parts)
    return torch.cat(codes), torch.stack(scale), torch.stack(minimum)


def dequantize_groups(codes, scale, minimum, group_size, shape):
    return torch.cat(
        [
            (c.double() * s.double() + m.double()).float()
            for c, s, m in zip(codes.split(group_size), scale, minimum)
        ]
    ).reshape(shape)


# %% nbgrader={"grade": false, "grade_id": "packing", "locked": false, "schema_version": 3, "solution": true, "task": false}
def pack_4bit(codes, fill=0):
    values = codes.tolist() + [int(fill)] * (len(codes) % 2)
    if not set(values) <= set(range(16)):
        raise ValueError("codes are from 0 to 15")
    digits = "".join(f"{value:x}" for value in values)
    return torch.tensor(list(bytes.fromhex(digits)), dtype=torch.uint8)


def unpack_4bit(packed, count):
    if len(packed) != -(-count // 2):
        raise ValueError("another length")
    digits = bytes(packed.tolist()).hex()
    return torch.tensor([int(digit, 16) for digit in digits[:count]], dtype=torch.uint8)


# %% nbgrader={"grade": false, "grade_id": "nf4", "locked": false, "schema_version": 3, "solution": true, "task": false}
def nf4_code_book():
    halves = [
        sign * torch.special.ndtri(torch.linspace(0.9677083, 0.5, count)[:-1])
        for sign, count in ((1, 9), (-1, 8))
    ]
    book = torch.sort(torch.cat([*halves, torch.tensor([0.0])]))[0]
    return book / book[-1]


def quantize_nf4(weight, code_book, block_size=64):
    if not bool(weight.isfinite().all()):
        raise ValueError("weights must be finite")
    codes, absmax = [], []
    for block in weight.flatten().split(block_size):
        largest = block.abs().max()
        absmax.append(largest)
        factor = 1 / largest if largest > 3e-39 else torch.zeros_like(largest)
        scaled = block * factor if factor else block / largest.clamp(min=1e-45)
        distance = (scaled.double()[:, None] - code_book.double()[None, :]).abs()
        codes.append(distance.argmin(dim=1).to(torch.uint8))
    return torch.cat(codes), torch.stack(absmax)


def dequantize_nf4(codes, absmax, code_book, block_size, shape):
    out = [code_book[int(c)] * absmax[i // block_size] for i, c in enumerate(codes)]
    return torch.stack(out).reshape(shape)


# %% nbgrader={"grade": false, "grade_id": "double-quant", "locked": false, "schema_version": 3, "solution": true, "task": false}
def double_quantize(absmax, block_size=256):
    offset = absmax.double().mean().to(absmax.dtype)
    parts = [quantize_int8(part[None], per_channel=True) for part in (absmax - offset).split(block_size)]
    codes = torch.cat([c.flatten() for c, _ in parts])
    scale = torch.cat([s.flatten() for _, s in parts])
    return codes, scale, offset


def double_dequantize(codes, scale, offset, block_size=256):
    parts = zip(codes.split(block_size), scale)
    return torch.cat([part.to(torch.float32) * s for part, s in parts]) + offset


# %% nbgrader={"grade": false, "grade_id": "linear-4bit", "locked": false, "schema_version": 3, "solution": true, "task": false}
class _Nf4Matrix:
    def __init__(self, matrix, block_size, double):
        self.shape, self.block_size, self.double = tuple(matrix.shape), block_size, double
        codes, absmax = quantize_nf4(matrix, nf4_code_book().to(matrix.device), block_size)
        self.packed = pack_4bit(codes)
        if double:
            self.absmax_codes, self.absmax_scale, self.offset = double_quantize(absmax)
        else:
            self.absmax = absmax

    def bytes(self):
        if self.double:
            return self.packed.nbytes + self.absmax_codes.nbytes + self.absmax_scale.nbytes + 4
        return self.packed.nbytes + self.absmax.nbytes

    def matrix(self):
        codes = unpack_4bit(self.packed, self.shape[0] * self.shape[1])
        if self.double:
            absmax = double_dequantize(self.absmax_codes, self.absmax_scale, self.offset)
        else:
            absmax = self.absmax
        return dequantize_nf4(codes, absmax, nf4_code_book().to(codes.device), self.block_size, self.shape)


class Linear4bit(torch.nn.Module):
    def __init__(self, weight, bias=None, block_size=64, double_quant=False):
        super().__init__()
        with torch.no_grad():
            self.quantized = _Nf4Matrix(weight, block_size, double_quant)
            self.bias = bias.clone() if bias is not None else None
        self.nbytes = self.quantized.bytes() + (self.bias.nbytes if self.bias is not None else 0)

    def forward(self, x):
        out = torch.einsum("...i,oi->...o", x, self.quantized.matrix().to(x.dtype))
        if self.bias is not None:
            out = out + self.bias
        return out


# %% nbgrader={"grade": false, "grade_id": "llm-int8", "locked": false, "schema_version": 3, "solution": true, "task": false}
def outlier_columns(x, threshold=6.0):
    peaks = torch.zeros(x.shape[1], device=x.device)
    for row in x:
        peaks = torch.maximum(peaks, row.abs())
    return torch.tensor([j for j, peak in enumerate(peaks.tolist()) if peak > threshold], dtype=torch.long, device=x.device)


def _one_row(row, keep, weight, w_codes, w_scale):
    inner = row * keep
    codes, scale = quantize_int8(inner[None, :], per_channel=False)
    sums = (codes.to(torch.int32) * w_codes.to(torch.int32)).sum(dim=1, dtype=torch.int32)
    return sums.to(torch.float32) * float(scale) * w_scale[:, 0] + weight @ (row - inner)


def int8_linear(x, weight, threshold=6.0):
    keep = torch.ones(x.shape[1], device=x.device)
    keep[outlier_columns(x, threshold)] = 0.0
    w_codes, w_scale = quantize_int8(weight, per_channel=True)
    rows = [_one_row(row, keep, weight, w_codes, w_scale) for row in x]
    return torch.stack(rows) if rows else x.new_zeros(0, weight.shape[0])


# %% nbgrader={"grade": false, "grade_id": "perplexity", "locked": false, "schema_version": 3, "solution": true, "task": false}
def perplexity(model, tokens, window, stride):
    if len(tokens) < 2 or not 0 < stride <= window:
        raise ValueError
    nll, done, s = 0.0, 0, 0
    while done < len(tokens) - 1:
        t = tokens[s + 1 : s + window + 1].clone()
        t[: max(done - s, 0)] = -100
        logits = model(tokens[s : s + len(t)][None])[0].detach().double()
        nll += torch.nn.functional.cross_entropy(logits, t.to(logits.device), reduction="sum", ignore_index=-100)
        done, s = s + len(t), s + stride
    return (nll / (len(tokens) - 1)).exp()
