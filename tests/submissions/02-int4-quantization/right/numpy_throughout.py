"""Computes in NumPy, returns NumPy's numbers, packs with NumPy's bit functions.
"""

# %% nbgrader={"grade": false, "grade_id": "quantized-bytes", "locked": false, "schema_version": 3, "solution": true, "task": false}
import numpy as np


def quantized_bytes(numbers, bits=4, group_size=64, double_quant=False):
    groups = np.ceil(numbers / group_size)
    rulers = groups + 4 * np.ceil(groups / 256) + 4 if double_quant else groups * 4
    return np.ceil(numbers * bits / 8) + rulers


# %% nbgrader={"grade": false, "grade_id": "int8-absmax", "locked": false, "schema_version": 3, "solution": true, "task": false}
def quantize_int8(weight, per_channel=False):
    w = weight.detach().numpy()
    if not np.isfinite(w).all():
        raise ValueError("only finite weights")
    absmax = np.abs(w).max(axis=1, keepdims=True) if per_channel else np.abs(w).max()
    scale = np.float32(absmax) / np.float32(127)
    codes = np.rint(np.divide(w, scale, out=np.zeros_like(w), where=scale != 0))
    return torch.from_numpy(codes.astype(np.int8)), torch.as_tensor(scale) if per_channel else scale


# %% nbgrader={"grade": false, "grade_id": "int4-groups", "locked": false, "schema_version": 3, "solution": true, "task": false}
def quantize_groups(weight, group_size=32, bits=4):
    w = weight.numpy().ravel()
    if group_size < 1:
        raise ValueError("empty groups")
    if not np.isfinite(w).all():
        raise ValueError("only finite weights")
    starts = np.arange(0, w.size, group_size)
    low, high = np.minimum.reduceat(w, starts), np.maximum.reduceat(w, starts)
    scale = (high - low) / np.float32(2**bits - 1)
    scale[scale == 0] = 1e-9
    group = np.repeat(np.arange(starts.size), group_size)[: w.size]
    codes = np.rint((w - low[group]) / scale[group]).clip(0, 2**bits - 1)
    return torch.from_numpy(codes.astype(np.uint8)), torch.from_numpy(scale), torch.from_numpy(low)


def dequantize_groups(codes, scale, minimum, group_size, shape):
    result = np.empty(len(codes), dtype=np.float32)
    for g, (s, m) in enumerate(zip(scale.numpy(), minimum.numpy())):
        part = slice(g * group_size, (g + 1) * group_size)
        result[part] = codes.numpy()[part] * s + m
    return torch.from_numpy(result).reshape(shape)


# %% nbgrader={"grade": false, "grade_id": "packing", "locked": false, "schema_version": 3, "solution": true, "task": false}
def pack_4bit(codes, fill=0):
    codes = np.append(codes.numpy().astype(np.int64), [fill] * (len(codes) % 2)).astype(np.int64)
    if codes.size and (codes.min() < 0 or codes.max() > 15):
        raise ValueError("codes have four bits")
    bits = np.unpackbits(codes.astype(np.uint8)[:, None], axis=1)[:, 4:]
    return torch.from_numpy(np.packbits(bits.reshape(-1, 8), axis=1).reshape(-1))


def unpack_4bit(packed, count):
    if 2 * len(packed) - count not in (0, 1):
        raise ValueError("another number of bytes")
    bits = np.unpackbits(packed.numpy()[:, None], axis=1).reshape(-1, 4)
    return torch.from_numpy(bits @ np.array([8, 4, 2, 1], dtype=np.uint8))[:count]


# %% nbgrader={"grade": false, "grade_id": "nf4", "locked": false, "schema_version": 3, "solution": true, "task": false}
def nf4_code_book():
    def side(levels):
        p = np.linspace(0.9677083, 0.5, levels + 1)[:-1]
        return torch.special.ndtri(torch.from_numpy(p)).numpy()

    levels = np.sort(np.concatenate((side(8), [0], -side(7))))
    return torch.from_numpy((levels / levels.max()).astype(np.float32))


def quantize_nf4(weight, code_book, block_size=64):
    w, book = weight.numpy().ravel(), code_book.numpy()
    if not np.isfinite(w).all():
        raise ValueError("only finite weights")
    absmax = np.maximum.reduceat(np.abs(w), np.arange(0, w.size, block_size))
    inverse = np.where(absmax > 0, np.float32(1) / np.maximum(absmax, np.float32(1e-38)), np.float32(0))
    scaled = w * np.repeat(inverse, block_size)[: w.size]
    codes = np.searchsorted((book[:-1] + book[1:]) / np.float32(2), scaled, side="left")
    return torch.from_numpy(codes.astype(np.uint8)), torch.from_numpy(absmax)


def dequantize_nf4(codes, absmax, code_book, block_size, shape):
    levels = code_book.numpy()[codes.numpy()]
    return torch.from_numpy(levels * np.repeat(absmax.numpy(), block_size)[: levels.size]).reshape(shape)


# %% nbgrader={"grade": false, "grade_id": "double-quant", "locked": false, "schema_version": 3, "solution": true, "task": false}
def double_quantize(absmax, block_size=256):
    a = absmax.numpy()
    offset = a.mean(dtype=np.float64).astype(np.float32)
    rest = a - offset
    starts = np.arange(0, a.size, block_size)
    scale = np.maximum.reduceat(np.abs(rest), starts) / np.float32(127)
    spread = np.repeat(scale, block_size)[: a.size]
    codes = np.rint(np.divide(rest, spread, out=np.zeros_like(rest), where=spread > 0))
    return torch.from_numpy(codes.astype(np.int8)), torch.from_numpy(scale), offset


def double_dequantize(codes, scale, offset, block_size=256):
    spread = np.repeat(scale.numpy(), block_size)[: len(codes)]
    return torch.from_numpy((codes.numpy() * spread + np.float32(offset)).astype(np.float32))


# %% nbgrader={"grade": false, "grade_id": "linear-4bit", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Linear4bit(torch.nn.Module):
    def __init__(self, weight, bias=None, block_size=64, double_quant=False):
        super().__init__()
        from bitsandbytes.functional import get_4bit_type, quantize_4bit

        packed, state = quantize_4bit(weight.contiguous(), blocksize=block_size, quant_type="nf4")
        self.packed, self.levels = packed.flatten(), get_4bit_type("nf4", device="cpu")
        self.nested = double_quantize(state.absmax) if double_quant else None
        self.absmax = None if double_quant else state.absmax
        self.shape, self.block_size, self.bias = tuple(weight.shape), block_size, bias
        self.nbytes = np.int64(self.packed.nbytes)
        self.nbytes += self.nested[0].nbytes + self.nested[1].nbytes + 4 if double_quant else self.absmax.nbytes
        if bias is not None:
            self.nbytes += bias.nbytes

    def forward(self, x):
        absmax = self.absmax if self.nested is None else double_dequantize(*self.nested)
        codes = unpack_4bit(self.packed, self.shape[0] * self.shape[1])
        weight = dequantize_nf4(codes, absmax, self.levels, self.block_size, self.shape)
        y = torch.matmul(x, weight.t())
        if self.bias is not None:
            y += self.bias
        return y


# %% nbgrader={"grade": false, "grade_id": "llm-int8", "locked": false, "schema_version": 3, "solution": true, "task": false}
def outlier_columns(x, threshold=6.0):
    return np.flatnonzero((np.abs(x.numpy()) > threshold).any(axis=0))


def int8_linear(x, weight, threshold=6.0):
    a, w = x.numpy(), weight.numpy()
    outliers = outlier_columns(x, threshold)
    usual = np.setdiff1d(np.arange(a.shape[1]), outliers)

    def codes_and_scale(rows, absmax):
        scale = absmax[:, None] / 127
        return np.rint(np.divide(rows, scale, out=np.zeros_like(rows), where=scale > 0)).astype(np.int64), scale

    a_codes, a_scale = codes_and_scale(a[:, usual], np.abs(a[:, usual]).max(axis=1, initial=0))
    w_codes, w_scale = codes_and_scale(w[:, usual], np.abs(w).max(axis=1))
    y = (a_codes @ w_codes.T) * a_scale * w_scale.T + a[:, outliers] @ w[:, outliers].T
    return torch.from_numpy(y.astype(np.float32))


# %% nbgrader={"grade": false, "grade_id": "perplexity", "locked": false, "schema_version": 3, "solution": true, "task": false}
def perplexity(model, tokens, window, stride):
    ids = tokens.numpy()
    if ids.size < 2 or stride <= 0 or window < stride:
        raise ValueError("can't read this")
    nll, done = 0.0, 0
    for begin in range(0, ids.size, stride):
        end = min(begin + window, ids.size - 1)
        if end <= done:
            break
        logits = model(torch.from_numpy(ids[begin:end])[None])[0].numpy().astype(np.float64)
        logits -= logits.max(axis=1, keepdims=True)
        log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        for position in range(done, end):
            nll -= log_p[position - begin, ids[position + 1]]
        done = end
    return np.exp(nll / (ids.size - 1))
