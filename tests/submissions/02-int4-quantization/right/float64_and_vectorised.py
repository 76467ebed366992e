"""Computes in float64, vectorised, with other helpers: gather, einsum, searchsorted, integer views.
"""

# %% nbgrader={"grade": false, "grade_id": "quantized-bytes", "locked": false, "schema_version": 3, "solution": true, "task": false}
def quantized_bytes(numbers, bits=4, group_size=64, double_quant=False):
    groups = (numbers + group_size - 1) // group_size
    code_bytes = (bits * numbers + 7) // 8
    ruler_bytes = groups + 4 * ((groups + 255) // 256) + 4 if double_quant else 4 * groups
    return torch.tensor(code_bytes + ruler_bytes)


# %% nbgrader={"grade": false, "grade_id": "int8-absmax", "locked": false, "schema_version": 3, "solution": true, "task": false}
def quantize_int8(weight, per_channel=False):
    if torch.isfinite(weight).logical_not().any():
        raise ValueError("NaN or infinity")
    w = weight.double()
    low, high = (torch.aminmax(w, dim=1, keepdim=True)) if per_channel else torch.aminmax(w)
    absmax = torch.maximum(-low, high)
    codes = torch.nan_to_num(w * 127 / absmax, nan=0.0).round()
    return codes.to(torch.int8), (absmax / 127).float()


# %% nbgrader={"grade": false, "grade_id": "int4-groups", "locked": false, "schema_version": 3, "solution": true, "task": false}
def quantize_groups(weight, group_size=32, bits=4):
    if not group_size > 0 or not torch.isfinite(weight).all():
        raise ValueError("groups must not be empty, weights must be finite")
    numbers = weight.reshape(-1).double()
    group = torch.arange(numbers.numel()).div(group_size, rounding_mode="floor")
    count = int(group[-1]) + 1
    low = torch.full((count,), torch.inf, dtype=torch.float64).scatter_reduce(0, group, numbers, "amin")
    high = torch.full((count,), -torch.inf, dtype=torch.float64).scatter_reduce(0, group, numbers, "amax")
    scale = (high - low) / (2**bits - 1)
    codes = torch.nan_to_num((numbers - low[group]) / scale[group]).add(0.5).floor().clamp(max=2**bits - 1)
    return codes.to(torch.uint8), scale.float(), low.float()


def dequantize_groups(codes, scale, minimum, group_size, shape):
    scales = scale.double().repeat_interleave(group_size)[: len(codes)]
    minima = minimum.double().repeat_interleave(group_size)[: len(codes)]
    return torch.addcmul(minima, codes.double(), scales).float().view(shape)


# %% nbgrader={"grade": false, "grade_id": "packing", "locked": false, "schema_version": 3, "solution": true, "task": false}
def pack_4bit(codes, fill=0):
    wide = codes.long()
    if bool(((wide < 0) | (wide > 15)).any()):
        raise ValueError("no code of four bits")
    if wide.numel() % 2:
        wide = torch.nn.functional.pad(wide, (0, 1), value=fill)
    return (wide.view(-1, 2) * torch.tensor([16, 1])).sum(dim=1).to(torch.uint8)


def unpack_4bit(packed, count):
    if packed.numel() != -(-count // 2):
        raise ValueError("another number of codes")
    wide = packed.long()[:, None]
    return torch.cat((wide // 16, wide % 16), dim=1).view(-1).narrow(0, 0, count).byte()


# %% nbgrader={"grade": false, "grade_id": "nf4", "locked": false, "schema_version": 3, "solution": true, "task": false}
def nf4_code_book():
    def side(levels):
        p = torch.linspace(0.9677083, 0.5, levels + 1)[:levels]
        return 2**0.5 * torch.erfinv(2 * p.double() - 1)

    book = torch.cat((-side(7), torch.tensor([0.0]), side(8).flip(0)))
    return (book / book[-1]).float()


def quantize_nf4(weight, code_book, block_size=64):
    if not bool(torch.isfinite(weight).all()):
        raise ValueError("NaN or infinity")
    parts = list(weight.contiguous().view(-1).split(block_size))
    absmax = torch.stack([torch.linalg.vector_norm(part, ord=torch.inf) for part in parts])
    middle = (code_book[1:] + code_book[:-1]) * 0.5
    codes = [
        (part.mul(1 / largest.clamp(min=1e-30))[:, None] > middle).sum(dim=1) for part, largest in zip(parts, absmax)
    ]
    return torch.cat(codes).to(torch.uint8), absmax


def dequantize_nf4(codes, absmax, code_book, block_size, shape):
    spread = absmax.double().repeat_interleave(block_size)[: codes.numel()]
    return (torch.take(code_book.double(), codes.long()) * spread).float().reshape(shape)


# %% nbgrader={"grade": false, "grade_id": "double-quant", "locked": false, "schema_version": 3, "solution": true, "task": false}
def double_quantize(absmax, block_size=256):
    values = absmax.double()
    offset = values.sum() / values.numel()
    parts = (values - offset).split(block_size)
    scale = torch.stack([part.abs().max() for part in parts]) / 127
    safe = scale.clamp(min=1e-300)
    codes = torch.cat([(part / s).round() for part, s in zip(parts, safe)])
    return codes.clamp(-127, 127).to(torch.int8), scale.float(), offset.float()


def double_dequantize(codes, scale, offset, block_size=256):
    parts = codes.double().split(block_size)
    return (torch.cat([part * s for part, s in zip(parts, scale.double())]) + float(offset)).float()


# %% nbgrader={"grade": false, "grade_id": "linear-4bit", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Linear4bit(torch.nn.Module):
    def __init__(self, weight, bias=None, block_size=64, double_quant=False):
        super().__init__()
        book = nf4_code_book()
        codes, absmax = quantize_nf4(weight, book, block_size)
        self.state = {"packed": pack_4bit(codes), "book": book, "shape": tuple(weight.shape), "block": block_size}
        if double_quant:
            self.state["nested"] = double_quantize(absmax)
        else:
            self.state["absmax"] = absmax
        self.bias = None if bias is None else torch.nn.Parameter(bias.detach().clone(), requires_grad=False)

    @property
    def nbytes(self):
        total = self.state["packed"].nbytes
        if "nested" in self.state:
            codes, scale, _ = self.state["nested"]
            total += codes.nbytes + scale.nbytes + 4
        else:
            total += self.state["absmax"].nbytes
        return total if self.bias is None else total + self.bias.nbytes

    def forward(self, x):
        s = self.state
        absmax = double_dequantize(*s["nested"]) if "nested" in s else s["absmax"]
        out, inner = s["shape"]
        weight = dequantize_nf4(unpack_4bit(s["packed"], out * inner), absmax, s["book"], s["block"], s["shape"])
        y = torch.einsum("...i,oi->...o", x.double(), weight.double())
        y = y if self.bias is None else y + self.bias
        return y.to(x.dtype)


# %% nbgrader={"grade": false, "grade_id": "llm-int8", "locked": false, "schema_version": 3, "solution": true, "task": false}
def outlier_columns(x, threshold=6.0):
    return torch.where(x.abs().amax(dim=0) > threshold)[0]


def int8_linear(x, weight, threshold=6.0):
    x, weight = x.double(), weight.double()
    outliers = torch.zeros_like(x)
    columns = outlier_columns(x, threshold)
    outliers[:, columns] = x[:, columns]
    usual = x - outliers
    x_scale = usual.abs().amax(dim=1, keepdim=True).clamp(min=1e-200) / 127
    w_scale = weight.abs().amax(dim=1).clamp(min=1e-200) / 127
    products = torch.einsum("ri,oi->ro", (usual / x_scale).round(), (weight / w_scale[:, None]).round())
    return (products * x_scale * w_scale + outliers @ weight.mT).float()


# %% nbgrader={"grade": false, "grade_id": "perplexity", "locked": false, "schema_version": 3, "solution": true, "task": false}
def perplexity(model, tokens, window, stride):
    count = tokens.numel() - 1
    if count < 1 or stride not in range(1, window + 1):
        raise ValueError("nothing to score, or a stride that doesn't fit the window")
    nll = torch.full((count,), torch.nan, dtype=torch.float64)  # of the predictions made at positions 0 .. n - 2
    for start in range(0, count, stride):
        ids = tokens[:-1][start : start + window]
        logits = model(ids.reshape(1, -1)).squeeze(0).double()
        chosen = logits.gather(1, tokens[start + 1 : start + 1 + len(ids), None]).squeeze(1)
        losses = logits.logsumexp(dim=1) - chosen
        part = nll[start : start + len(ids)]
        part[part.isnan()] = losses[part.isnan()]
        if not nll.isnan().any():
            return nll.mean().exp()
