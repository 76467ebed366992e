"""Computes in NumPy, and in its dtypes.
"""

# %% nbgrader={"grade": false, "grade_id": "effective-bits", "locked": false, "schema_version": 3, "solution": true, "task": false}
import numpy as np


def effective_bits(bits, group_size, columns, scale_bits=16, zero_bits=None):
    size = columns if group_size is None else group_size
    groups = np.ceil(np.float64(columns) / size)
    zero = np.int64(bits) if zero_bits is None else np.int64(zero_bits)
    return (columns * bits + groups * (scale_bits + zero)) / columns


# %% nbgrader={"grade": false, "grade_id": "hessian", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Hessian:
    def __init__(self, columns):
        self._mean = np.zeros((columns, columns))
        self._count = 0

    def add(self, x):
        rows = x.detach().to(torch.float32).numpy().reshape(-1, x.shape[-1])
        if rows.shape[0] == 0:
            return
        self._count += rows.shape[0]
        # Welford's way: the mean moves towards the new rows by their share.
        new = np.einsum("ti,tj->ij", rows, rows, dtype=np.float64) / rows.shape[0]
        self._mean += (new - self._mean) * (rows.shape[0] / self._count)

    @property
    def value(self):
        return torch.from_numpy(self._mean.copy())


# %% nbgrader={"grade": false, "grade_id": "output-error", "locked": false, "schema_version": 3, "solution": true, "task": false}
def output_error(error, hessian):
    e, h = error.numpy(), hessian.numpy()
    return np.einsum("ri,ij,rj->", e, h, e, optimize=True)


# %% nbgrader={"grade": false, "grade_id": "inverse-factor", "locked": false, "schema_version": 3, "solution": true, "task": false}
def inverse_factor(hessian, damp=0.01):
    h = hessian.numpy().astype(np.float64)
    if not np.all(np.isfinite(h)):
        raise ValueError("not finite")
    columns = len(h)
    dead = np.diag(h) == 0
    h = h + damp * np.diag(h).mean() * np.eye(columns)
    h[dead, dead] = 1
    try:
        np.linalg.cholesky(h)
        upper = np.linalg.cholesky(np.linalg.inv(h)).T
    except np.linalg.LinAlgError:
        raise ValueError("no factor") from None
    return torch.from_numpy(upper.astype(np.float32))


# %% nbgrader={"grade": false, "grade_id": "gptq", "locked": false, "schema_version": 3, "solution": true, "task": false}
def gptq(weight, factor, bits, group_size=None, block_size=128):
    u = factor.numpy().astype(np.float64)
    if np.count_nonzero(np.tril(u, -1)):
        raise ValueError("not upper")
    w = weight.numpy().astype(np.float64)
    rows, columns = w.shape
    top = 2**bits - 1
    scale, zero = np.empty_like(w), np.empty_like(w)
    size = columns if group_size is None else group_size
    for start in range(0, columns, size):
        part = w[:, start : start + size]
        low, high = np.minimum(part.min(1), 0), np.maximum(part.max(1), 0)
        step = np.where(high > low, (high - low) / top, 1.0)
        scale[:, start : start + size] = step[:, None]
        zero[:, start : start + size] = np.clip(np.rint(-low / step), 0, top)[:, None]
    rest, done = w.copy(), np.zeros_like(w)
    for j in range(columns):
        code = np.clip(np.rint(rest[:, j] / scale[:, j] + zero[:, j]), 0, top)
        done[:, j] = (code - zero[:, j]) * scale[:, j]
        rest[:, j:] -= np.outer((rest[:, j] - done[:, j]) / u[j, j], u[j, j:])
    return torch.from_numpy(done.astype(np.float32))


# %% nbgrader={"grade": false, "grade_id": "fold", "locked": false, "schema_version": 3, "solution": true, "task": false}
import numpy as np


def fold(layer, scales, head_dim):
    arrays = {name: tensor.double().numpy().copy() for name, tensor in layer.items()}
    get = {key: np.asarray(value.double()) for key, value in scales.items()}
    for key, readers, norm in (
        ("qkv", ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"), "input_layernorm.weight"),
        ("gate_up", ("mlp.gate_proj", "mlp.up_proj"), "post_attention_layernorm.weight"),
    ):
        s = get.get(key)
        if s is not None:
            arrays[norm] /= s
            for reader in readers:
                arrays[reader + ".weight"] *= s[np.newaxis]
    if "o" in get:
        o = arrays["self_attn.o_proj.weight"]
        s = get["o"].reshape(-1, 1, head_dim)
        arrays["self_attn.o_proj.weight"] = (o.reshape(o.shape[0], len(s), -1, head_dim) * s).reshape(o.shape)
    for key, source in (("o", "self_attn.v_proj"), ("down", "mlp.up_proj")):
        if key in get:
            arrays[source + ".weight"] /= get[key][:, np.newaxis]
            if source + ".bias" in arrays:
                arrays[source + ".bias"] /= get[key]
    if "down" in get:
        arrays["mlp.down_proj.weight"] *= get["down"]
    return {name: torch.from_numpy(arrays[name]).to(layer[name].dtype) for name in sorted(layer)}
