"""Keeps the output normalised and the log-sum-exp in place of maximum and sum; float64 within.
"""

# %% nbgrader={"grade": false, "grade_id": "bytes-moved", "locked": false, "schema_version": 3, "solution": true, "task": false}
from math import ceil


def naive_bytes(queries, keys, head_dim, bytes_per_value):
    return torch.tensor((4 * queries * keys + 2 * (queries + keys) * head_dim) * bytes_per_value)


def flash_bytes(queries, keys, head_dim, block_q, bytes_per_value):
    per_block = 2 * keys * head_dim
    return bytes_per_value * (queries * (2 * head_dim + 1) + ceil(queries / block_q) * per_block)


# %% nbgrader={"grade": false, "grade_id": "naive-attention", "locked": false, "schema_version": 3, "solution": true, "task": false}
def naive_attention(hbm):
    n, d = hbm.shape("q")
    for name in ("scores", "weights"):
        hbm.new(name, n, hbm.shape("v")[0])
    k = hbm.load("k").double()
    for i in range(n):
        hbm.store("scores", i, (hbm.load("q", i, i + 1).double() @ k.T) * d**-0.5)
    for i in range(n):
        hbm.store("weights", i, hbm.load("scores", i, i + 1).softmax(-1))
    v = hbm.load("v")
    for i in range(n):
        hbm.store("o", i, hbm.load("weights", i, i + 1) @ v)


# %% nbgrader={"grade": false, "grade_id": "online-softmax", "locked": false, "schema_version": 3, "solution": true, "task": false}
def partial_softmax(scores, values):
    m = torch.full((len(scores),), -torch.inf)
    l, o = torch.zeros(len(scores)), torch.zeros(len(scores), values.shape[1])
    for row, row_scores in enumerate(scores):
        for score, value in zip(row_scores, values):
            if score == -torch.inf:
                continue
            new = torch.maximum(m[row], score)
            shrink, grow = torch.exp(m[row] - new), torch.exp(score - new)
            m[row], l[row], o[row] = new, l[row] * shrink + grow, o[row] * shrink + grow * value
    return m, l, o


def merge(one, other):
    m, l, o = (torch.empty_like(part) for part in one)
    for row in range(len(m)):
        low, high = (one, other) if one[0][row] < other[0][row] else (other, one)
        m[row] = high[0][row]
        shrink = torch.exp(low[0][row] - m[row]) if low[0][row] > -torch.inf else 0.0
        l[row] = low[1][row] * shrink + high[1][row]
        o[row] = low[2][row] * shrink + high[2][row]
    return m, l, o


def finish(partial):
    m, l, o = partial
    return o / l.clamp(min=1e-30)[:, None], torch.log(l) + m


# %% nbgrader={"grade": false, "grade_id": "flash-forward", "locked": false, "schema_version": 3, "solution": true, "task": false}
def flash_forward(hbm, block_q, block_k):
    queries, head_dim = hbm.shape("q")
    keys = hbm.shape("k")[0]
    start = 0
    while start < queries:
        q = hbm.load("q", start, start + block_q).double()
        o, lse = torch.zeros_like(q), torch.full((len(q),), -torch.inf, dtype=torch.float64)
        first = 0
        while first < keys:
            s = q @ hbm.load("k", first, first + block_k).double().T * head_dim**-0.5
            new = torch.logaddexp(lse, s.logsumexp(1))
            v = hbm.load("v", first, first + block_k).double()
            o = o * torch.exp(lse - new)[:, None] + torch.exp(s - new[:, None]) @ v
            lse, first = new, first + block_k
        hbm.store("o", start, o)
        hbm.store("lse", start, lse)
        start += len(q)


# %% nbgrader={"grade": false, "grade_id": "flash-causal", "locked": false, "schema_version": 3, "solution": true, "task": false}
def flash_attention(hbm, block_q, block_k, causal):
    heads, queries, head_dim = hbm.shape("q")
    kv_heads, keys, _ = hbm.shape("k")
    for start in range(0, queries, block_q):
        for head in range(heads):
            own = head * kv_heads // heads
            q = hbm.load("q", start, start + block_q, head=head).double()
            o, lse = torch.zeros_like(q), torch.full((len(q),), -torch.inf, dtype=torch.float64)
            for first in range(0, keys, block_k):
                if causal and first > keys - queries + start + len(q) - 1:
                    break
                k = hbm.load("k", first, first + block_k, head=own).double()
                s = q @ k.T * head_dim**-0.5
                if causal:
                    hidden = torch.ones_like(s).triu(1 + keys - queries + start - first)
                    s = s - 1e9 * hidden
                new = torch.logaddexp(lse, s.logsumexp(1))
                v = hbm.load("v", first, first + block_k, head=own).double()
                o = o * torch.exp(lse - new)[:, None] + torch.exp(s - new[:, None]) @ v
                lse = new
            hbm.store("o", start, o, head=head)
            hbm.store("lse", start, lse, head=head)


# %% nbgrader={"grade": false, "grade_id": "flash-backward", "locked": false, "schema_version": 3, "solution": true, "task": false}
def flash_backward(hbm, block_q, block_k, causal):
    queries, head_dim = hbm.shape("q")
    keys = hbm.shape("k")[0]
    for start in range(0, queries, block_q):  # queries outside: dk and dv grow in HBM
        stop = min(start + block_q, queries)
        do = hbm.load("do", start, stop)
        d = (do.double() * hbm.load("o", start, stop)).sum(1)
        hbm.free("o")
        q, lse = hbm.load("q", start, stop), hbm.load("lse", start, stop)
        dq = torch.zeros_like(q)
        for first in range(0, keys, block_k):
            if causal and stop + keys - queries <= first:
                break
            end = min(first + block_k, keys)
            k, v = hbm.load("k", first, end), hbm.load("v", first, end)
            p = torch.exp((q @ k.T).double() / head_dim**0.5 - lse[:, None])
            if causal:
                p = p.tril(keys - queries + start - first)
            ds = (p * ((do @ v.T).double() - d[:, None]) / head_dim**0.5).float()
            dq += ds @ k
            hbm.store("dk", first, hbm.load("dk", first, end) + ds.T @ q)
            hbm.store("dv", first, hbm.load("dv", first, end) + p.float().T @ do)
        hbm.store("dq", start, dq)


# %% nbgrader={"grade": false, "grade_id": "triton-forward", "locked": false, "schema_version": 3, "solution": true, "task": false}
@triton.jit
def tile(q_block, k, v, first, keys, row, m, l, acc, MASK: tl.constexpr, D: tl.constexpr, C: tl.constexpr):
    column = first + tl.arange(0, C)
    at = column[:, None] * D + tl.arange(0, D)[None, :]
    k_block = tl.load(k + at, mask=column[:, None] < keys, other=0.0)
    s = tl.dot(q_block, tl.trans(k_block), input_precision="ieee")
    if MASK:
        s = tl.where((column[None, :] < keys) & (column[None, :] <= row[:, None]), s, float("-inf"))
    new = tl.maximum(m, tl.max(s, 1))
    p = tl.exp2(s - new[:, None])
    shrink = tl.exp2(m - new)
    v_block = tl.load(v + at, mask=column[:, None] < keys, other=0.0)
    acc = acc * shrink[:, None] + tl.dot(p, v_block, input_precision="ieee")
    return new, l * shrink + tl.sum(p, 1), acc


@triton.jit
def two_phases(q, k, v, o, lse, heads, queries, keys, scale, GROUP: tl.constexpr, CAUSAL: tl.constexpr, D: tl.constexpr, B: tl.constexpr, C: tl.constexpr):
    program = tl.program_id(0)
    head, start = program % heads, (program // heads) * B
    here = start + tl.arange(0, B)
    row = here + keys - queries if CAUSAL else here * 0 + keys
    at = (head * queries + here)[:, None] * D + tl.arange(0, D)[None, :]
    q_block = tl.load(q + at, mask=here[:, None] < queries, other=0.0) * (scale * 1.4426950408889634)
    k += head // GROUP * keys * D
    v += head // GROUP * keys * D
    m = tl.full([B], float("-inf"), tl.float32)
    l = tl.zeros([B], tl.float32)
    acc = tl.zeros([B, D], tl.float32)
    end = tl.minimum(keys, start + B + keys - queries) if CAUSAL else keys
    whole = tl.minimum(start + keys - queries + 1, keys) // C * C if CAUSAL else keys // C * C
    for first in range(0, whole, C):
        m, l, acc = tile(q_block, k, v, first, keys, row, m, l, acc, False, D, C)
    for first in range(whole, end, C):
        m, l, acc = tile(q_block, k, v, first, keys, row, m, l, acc, True, D, C)
    tl.store(o + at, acc / l[:, None], mask=here[:, None] < queries)
    tl.store(lse + head * queries + here, (m + tl.log2(l)) / 1.4426950408889634, mask=here < queries)


def triton_attention(q, k, v, causal=False, block_q=16, block_k=16):
    q, k, v = (part.to(DEVICE).contiguous() for part in (q, k, v))
    heads, queries, head_dim = q.shape
    o, lse = torch.empty_like(q), torch.empty(heads, queries, device=q.device)
    programs = heads * triton.cdiv(queries, block_q)
    two_phases[(programs,)](
        q, k, v, o, lse, heads, queries, k.shape[1], head_dim**-0.5, heads // len(k), causal, head_dim, block_q, block_k
    )
    return o, lse
