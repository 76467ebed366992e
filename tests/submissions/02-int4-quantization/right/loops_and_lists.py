"""Python loops and lists, a number at a time; plain floats where a number is asked for.
"""

# %% nbgrader={"grade": false, "grade_id": "quantized-bytes", "locked": false, "schema_version": 3, "solution": true, "task": false}
import math


def quantized_bytes(numbers, bits=4, group_size=64, double_quant=False):
    total = math.ceil(numbers * bits / 8)
    groups = math.ceil(numbers / group_size)
    if double_quant:
        return float(total + groups + 4 * math.ceil(groups / 256) + 4)
    return float(total + 4 * groups)


# %% nbgrader={"grade": false, "grade_id": "int8-absmax", "locked": false, "schema_version": 3, "solution": true, "task": false}
def quantize_int8(weight, per_channel=False):
    rows = weight.tolist()
    for row in rows:
        for number in row:
            if not math.isfinite(number):
                raise ValueError(number)

    def scale_of(numbers):
        largest = max(abs(number) for number in numbers)
        return largest / 127 if largest else 0.0

    def codes_of(row, scale):
        return [math.floor(number / scale + 0.5) if scale else 0 for number in row]

    if per_channel:
        scales = [scale_of(row) for row in rows]
        codes = [codes_of(row, scale) for row, scale in zip(rows, scales)]
        return torch.tensor(codes, dtype=torch.int8), torch.tensor(scales)[:, None]
    scale = scale_of([number for row in rows for number in row])
    return torch.tensor([codes_of(row, scale) for row in rows], dtype=torch.int8), scale


# %% nbgrader={"grade": false, "grade_id": "int4-groups", "locked": false, "schema_version": 3, "solution": true, "task": false}
def quantize_groups(weight, group_size=32, bits=4):
    if group_size <= 0:
        raise ValueError(group_size)
    numbers = weight.flatten().tolist()
    if any(math.isnan(number) or math.isinf(number) for number in numbers):
        raise ValueError("not finite")
    codes, scales, minima = [], [], []
    for start in range(0, len(numbers), group_size):
        group = numbers[start : start + group_size]
        low, high = min(group), max(group)
        scale = (high - low) / (2**bits - 1)
        for number in group:
            codes.append(round((number - low) / scale) if scale else 0)
        scales.append(scale)
        minima.append(low)
    return torch.tensor(codes, dtype=torch.uint8), torch.tensor(scales), torch.tensor(minima)


def dequantize_groups(codes, scale, minimum, group_size, shape):
    numbers = []
    for i, code in enumerate(codes.tolist()):
        numbers.append(code * float(scale[i // group_size]) + float(minimum[i // group_size]))
    return torch.tensor(numbers).reshape(*shape)


# %% nbgrader={"grade": false, "grade_id": "packing", "locked": false, "schema_version": 3, "solution": true, "task": false}
def pack_4bit(codes, fill=0):
    codes = codes.tolist()
    for code in codes:
        if code not in range(16):
            raise ValueError(code)
    if len(codes) % 2 == 1:
        codes.append(fill)
    return torch.tensor([16 * codes[i] + codes[i + 1] for i in range(0, len(codes), 2)], dtype=torch.uint8)


def unpack_4bit(packed, count):
    codes = []
    for byte in packed.tolist():
        codes.extend(divmod(byte, 16))
    if len(codes) not in (count, count + 1) or (len(codes) == count + 1 and count % 2 == 0):
        raise ValueError(count)
    return torch.tensor(codes[:count], dtype=torch.uint8)


# %% nbgrader={"grade": false, "grade_id": "nf4", "locked": false, "schema_version": 3, "solution": true, "task": false}
from statistics import NormalDist


def nf4_code_book():
    quantile = NormalDist().inv_cdf
    begin = 0.9677083
    levels = [0.0]
    for i in range(8):
        levels.append(quantile(begin + (0.5 - begin) * i / 8))
    for i in range(7):
        levels.append(-quantile(begin + (0.5 - begin) * i / 7))
    largest = quantile(begin)
    return torch.tensor([level / largest for level in sorted(levels)])


def quantize_nf4(weight, code_book, block_size=64):
    numbers = weight.reshape(-1)
    if torch.isnan(numbers).any() or torch.isinf(numbers).any():
        raise ValueError("not finite")
    codes, absmax = [], []
    for start in range(0, numbers.shape[0], block_size):
        block = numbers[start : start + block_size]
        largest = block.abs().max()
        absmax.append(largest)
        for number in block:
            x = number * (1 / largest) if largest > 0 else number
            codes.append(int((x - code_book).abs().argmin()))
    return torch.tensor(codes, dtype=torch.uint8), torch.stack(absmax)


def dequantize_nf4(codes, absmax, code_book, block_size, shape):
    numbers = [code_book[int(code)] * absmax[i // block_size] for i, code in enumerate(codes)]
    return torch.stack(numbers).reshape(shape)


# %% nbgrader={"grade": false, "grade_id": "double-quant", "locked": false, "schema_version": 3, "solution": true, "task": false}
def double_quantize(absmax, block_size=256):
    values = absmax.tolist()
    offset = sum(values) / len(values)
    codes, scales = [], []
    for start in range(0, len(values), block_size):
        rest = [value - offset for value in values[start : start + block_size]]
        scale = max(abs(r) for r in rest) / 127
        scales.append(scale)
        codes += [round(r / scale) if scale else 0 for r in rest]
    return torch.tensor(codes, dtype=torch.int8), torch.tensor(scales), offset


def double_dequantize(codes, scale, offset, block_size=256):
    return torch.tensor([int(code) * float(scale[i // block_size]) + float(offset) for i, code in enumerate(codes)])


# %% nbgrader={"grade": false, "grade_id": "linear-4bit", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Linear4bit:
    def __init__(self, weight, bias=None, block_size=64, double_quant=False):
        self.out, self.inner = weight.shape
        self.bias, self.block_size, self.double = bias, block_size, double_quant
        self.levels = nf4_code_book()
        codes, self.absmax = quantize_nf4(weight, self.levels, block_size)
        self.packed = pack_4bit(codes, fill=7)
        self.nbytes = len(self.packed) + 4 * len(self.absmax)
        if double_quant:
            self.absmax = double_quantize(self.absmax)
            self.nbytes = len(self.packed) + len(self.absmax[0]) + 4 * len(self.absmax[1]) + 4
        if bias is not None:
            self.nbytes += 4 * len(bias)

    def __call__(self, x):
        absmax = double_dequantize(*self.absmax) if self.double else self.absmax
        codes = unpack_4bit(self.packed, self.out * self.inner)
        weight = dequantize_nf4(codes, absmax, self.levels, self.block_size, (self.out, self.inner))
        outputs = [(x * row).sum(dim=-1) for row in weight]
        y = torch.stack(outputs, dim=-1)
        return y + self.bias if self.bias is not None else y


# %% nbgrader={"grade": false, "grade_id": "llm-int8", "locked": false, "schema_version": 3, "solution": true, "task": false}
def outlier_columns(x, threshold=6.0):
    found = []
    for column in range(x.shape[1]):
        if max(abs(number) for number in x[:, column].tolist()) > threshold:
            found.append(column)
    return found


def int8_linear(x, weight, threshold=6.0):
    outliers = outlier_columns(x, threshold)
    y = torch.zeros(x.shape[0], weight.shape[0])
    for column in outliers:
        y += x[:, column, None] * weight[None, :, column]
    usual = [column for column in range(x.shape[1]) if column not in outliers]
    if not usual:
        return y
    for i in range(x.shape[0]):
        row = [float(x[i, column]) for column in usual]
        x_scale = max(abs(number) for number in row) / 127
        if x_scale == 0:
            continue
        x_codes = [round(number / x_scale) for number in row]
        for o in range(weight.shape[0]):
            w_scale = max(abs(number) for number in weight[o].tolist()) / 127
            if w_scale == 0:
                continue
            w_codes = [round(float(weight[o, column]) / w_scale) for column in usual]
            y[i, o] += sum(a * b for a, b in zip(x_codes, w_codes)) * x_scale * w_scale
    return y


# %% nbgrader={"grade": false, "grade_id": "perplexity", "locked": false, "schema_version": 3, "solution": true, "task": false}
def perplexity(model, tokens, window, stride):
    n = len(tokens)
    if n < 2:
        raise ValueError("a text of less than two tokens")
    if stride < 1 or stride > window:
        raise ValueError("a stride that skips tokens or doesn't move")
    scores = {}
    start = 0
    while len(scores) < n - 1:
        fed = tokens[start : start + window]
        log_probabilities = torch.log_softmax(model(fed.unsqueeze(0))[0].double(), dim=-1)
        for i in range(len(fed)):
            target = start + i + 1
            if target < n and target not in scores:
                scores[target] = float(log_probabilities[i, int(tokens[target])])
        start += stride
    return math.exp(-sum(scores.values()) / len(scores))
