"""Merges partial results everywhere; the backward pass goes over the tiles twice.
"""

# %% nbgrader={"grade": false, "grade_id": "bytes-moved", "locked": false, "schema_version": 3, "solution": true, "task": false}
import math


def naive_bytes(queries, keys, head_dim, bytes_per_value):
    scores = queries * head_dim + keys * head_dim + queries * keys
    softmax = 2 * queries * keys
    mix = queries * keys + keys * head_dim + queries * head_dim
    return float(bytes_per_value * (scores + softmax + mix))


def flash_bytes(queries, keys, head_dim, block_q, bytes_per_value):
    total = 0
    for start in range(0, queries, block_q):
        rows = min(block_q, queries - start)
        total += rows * head_dim + 2 * keys * head_dim + rows * head_dim + rows
    return bytes_per_value * total


# %% nbgrader={"grade": false, "grade_id": "naive-attention", "locked": false, "schema_version": 3, "solution": true, "task": false}
def naive_attention(hbm):
    q, k = hbm.load("q"), hbm.load("k")
    hbm.new("table", (len(q), len(k)))  # one array for S, then for P
    hbm.store("table", 0, torch.einsum("id,jd->ij", q, k) * q.shape[1] ** -0.5)
    hbm.free("q")
    hbm.free("k")
    s = hbm.load("table")
    e = torch.exp(s - s.max(dim=1, keepdim=True).values)
    hbm.store("table", 0, e / e.sum(dim=1, keepdim=True))
    hbm.store("o", 0, torch.einsum("ij,jd->id", hbm.load("table"), hbm.load("v")))


# %% nbgrader={"grade": false, "grade_id": "online-softmax", "locked": false, "schema_version": 3, "solution": true, "task": false}
def partial_softmax(scores, values):
    scores, values = scores.double(), values.double()
    m = scores.max(dim=1).values
    p = torch.exp(scores - m.nan_to_num(neginf=0.0)[:, None])
    return [m, p.sum(1), p @ values]


def merge(one, other):
    (m1, l1, o1), (m2, l2, o2) = one, other
    m = torch.stack((m1, m2)).amax(0)
    a = torch.where(m1 == -torch.inf, 0.0, torch.exp(m1 - m))
    b = torch.where(m2 == -torch.inf, 0.0, torch.exp(m2 - m))
    return [m, a * l1 + b * l2, a.unsqueeze(1) * o1 + b.unsqueeze(1) * o2]


def finish(partial):
    m, l, o = partial
    return torch.nan_to_num(o / l[:, None], nan=0.0), m + l.log()


# %% nbgrader={"grade": false, "grade_id": "flash-forward", "locked": false, "schema_version": 3, "solution": true, "task": false}
def flash_forward(hbm, block_q, block_k):
    (queries, head_dim), (keys, _) = hbm.shape("q"), hbm.shape("k")
    for start in range(0, queries, block_q):
        q = hbm.load("q", start, min(queries, start + block_q))
        so_far = None
        for first in range(0, keys, block_k):
            k, v = (hbm.load(name, first, min(keys, first + block_k)) for name in "kv")
            tile = partial_softmax(q @ k.T / head_dim**0.5, v)
            so_far = merge(so_far, tile) if so_far else tile
        o, lse = finish(so_far)
        hbm.store("lse", start, lse)
        hbm.store("o", start, o)


# %% nbgrader={"grade": false, "grade_id": "flash-causal", "locked": false, "schema_version": 3, "solution": true, "task": false}
def flash_attention(hbm, block_q, block_k, causal):
    (heads, queries, head_dim), (kv_heads, keys, _) = hbm.shape("q"), hbm.shape("k")
    for kv_head in range(kv_heads):
        for head in range(kv_head * heads // kv_heads, (kv_head + 1) * heads // kv_heads):
            for start in reversed(range(0, queries, block_q)):
                q = hbm.load("q", start, start + block_q, head)
                position = keys - queries + torch.arange(start, start + len(q))
                seen = int(position[-1]) + 1 if causal else keys
                so_far = None
                for first in reversed(range(0, seen, block_k)):
                    stop = min(first + block_k, seen)  # not even the whole last tile
                    k, v = (hbm.load(name, first, stop, kv_head) for name in "kv")
                    scores = q @ k.T / head_dim**0.5
                    if causal:
                        scores[torch.arange(first, stop)[None] > position[:, None]] = -torch.inf
                    tile = partial_softmax(scores, v)
                    so_far = merge(so_far, tile) if so_far else tile
                o, lse = finish(so_far)
                hbm.store("o", start, o, head)
                hbm.store("lse", start, lse, head)


# %% nbgrader={"grade": false, "grade_id": "flash-backward", "locked": false, "schema_version": 3, "solution": true, "task": false}
def flash_backward(hbm, block_q, block_k, causal):
    (queries, head_dim), (keys, _) = hbm.shape("q"), hbm.shape("k")

    def tile(start, first, d):
        q, do = hbm.load("q", start, start + block_q), hbm.load("do", start, start + block_q)
        k, v = hbm.load("k", first, first + block_k), hbm.load("v", first, first + block_k)
        s = q @ k.T / head_dim**0.5
        if causal:
            seen = torch.ones_like(s).tril(keys - queries + start - first)
            s = s.masked_fill(seen == 0, -torch.inf)
        p = torch.exp(s - hbm.load("lse", start, start + block_q).unsqueeze(1))
        return q, k, do, p, p * (do @ v.T - d) / head_dim**0.5

    def meet(start, first):
        return not causal or first <= min(start + block_q, queries) - 1 + keys - queries

    hbm.new("sums", queries, 1)
    for start in range(0, queries, block_q):
        o, do = hbm.load("o", start, start + block_q), hbm.load("do", start, start + block_q)
        d = (o * do).sum(1, keepdim=True)
        hbm.store("sums", start, d)
        hbm.free("o")
        dq = torch.zeros(len(d), head_dim)
        for first in range(0, keys, block_k):
            if meet(start, first):
                _, k, _, _, ds = tile(start, first, d)
                dq += ds @ k
        hbm.store("dq", start, dq)
    for first in range(0, keys, block_k):
        dk = dv = 0
        for start in range(0, queries, block_q):
            if meet(start, first):
                q, _, do, p, ds = tile(start, first, hbm.load("sums", start, start + block_q))
                dk, dv = dk + ds.T @ q, dv + p.T @ do
        if torch.is_tensor(dk):
            hbm.store("dk", first, dk)
            hbm.store("dv", first, dv)


# %% nbgrader={"grade": false, "grade_id": "triton-forward", "locked": false, "schema_version": 3, "solution": true, "task": false}
import triton
import triton.language as tl


@triton.jit
def tile_kernel(q, k, v, o, lse, n, keys, group, scale, masked: tl.constexpr, D: tl.constexpr, B: tl.constexpr, C: tl.constexpr):
    head, start = tl.program_id(0), tl.program_id(1) * B
    row, d = start + tl.arange(0, B)[:, None], tl.arange(0, D)[None, :]
    q_block = tl.load(q + head * n * D + row * D + d, mask=row < n, other=0.0) * scale
    k += (head // group) * keys * D
    v += (head // group) * keys * D
    total = tl.zeros([B, 1], tl.float32)
    out = tl.zeros([B, D], tl.float32)
    top = tl.full([B, 1], -1e30, tl.float32)
    for first in range(0, keys, C):  # every tile; those behind the mask count nothing
        column = first + tl.arange(0, C)[None, :]
        k_block = tl.load(k + column * D + tl.arange(0, D)[:, None], mask=column < keys, other=0.0)
        s = tl.dot(q_block, k_block, input_precision="ieee")
        s = tl.where(column < keys, s, -1e30)
        if masked:
            s = tl.where(column - keys > row - n, -1e30, s)
        new = tl.maximum(top, tl.expand_dims(tl.max(s, 1), 1))
        p = tl.where(s > -1e29, tl.exp(s - new), 0.0)
        total = total * tl.exp(top - new) + tl.expand_dims(tl.sum(p, 1), 1)
        v_rows = first + tl.arange(0, C)[:, None]
        v_block = tl.load(v + v_rows * D + d, mask=v_rows < keys, other=0.0)
        out = out * tl.exp(top - new) + tl.dot(p, v_block, input_precision="ieee")
        top = new
    tl.store(o + head * n * D + row * D + d, out / total, mask=row < n)
    tl.store(lse + head * n + row, top + tl.log(total), mask=row < n)


def triton_attention(q, k, v, causal=False, block_q=16, block_k=16):
    q, k, v = (part.to(DEVICE).contiguous() for part in (q, k, v))
    heads, n, d = q.shape
    o, lse = torch.zeros_like(q), q.new_zeros(heads, n)
    tile_kernel[(heads, triton.cdiv(n, block_q))](
        q, k, v, o, lse, n, k.shape[1], heads // k.shape[0], d**-0.5, causal, d, block_q, block_k
    )
    return [o, lse]
