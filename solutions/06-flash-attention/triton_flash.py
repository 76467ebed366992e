"""FlashAttention-2 in Triton, tuned: what exercise 7's kernel becomes when speed counts. Forwards and backwards.

Beside the algorithm (Dao 2023) it has what makes it fast: powers of two with the scale folded in, tiles off the diagonal
without a mask (two phases), the longest rows first under a causal mask, and block sizes, warps and stages that Triton
tries out once for each size. `attention` is what to call; `measure_gpu.py` holds it against PyTorch's back ends.
"""

from typing import Any

import configs
import torch
from torch import Tensor

from fridge.attention.kernels import DEVICE, INTERPRETED, tl, triton

LOG2E = tl.constexpr(1.4426950408889634)


def _to_try(kernel: str) -> dict:
    # What an autotuner of this kernel tries: the candidates, and of them on a GPU what the record leaves.
    if INTERPRETED:  # nothing to try out: it has no warps, and no clock worth reading
        return {"configs": [triton.Config({"BLOCK_Q": 32, "BLOCK_K": 16})]}
    every = {config: _of_triton(config) for config in configs.CANDIDATES[kernel]}

    def of_this_gpu(_: list, arguments: dict, **settings: Any) -> list:
        major, minor = torch.cuda.get_device_capability()
        found = configs.left(kernel, settings["HEAD_DIM"], 10 * major + minor)
        return [every[config] for config in found]

    return {
        "configs": list(every.values()),
        "prune_configs_by": {"early_config_prune": of_this_gpu},
    }


def _of_triton(config: configs.Config) -> Any:
    blocks = {"BLOCK_Q": config.block_q, "BLOCK_K": config.block_k}
    return triton.Config(blocks, num_warps=config.warps, num_stages=config.stages)


KEY = ["queries", "keys", "HEAD_DIM", "CAUSAL"]


def attention(q: Tensor, k: Tensor, v: Tensor, causal: bool = False) -> Tensor:
    """softmax(Q K^T / sqrt(head_dim)) V, differentiable.

    Args:
        q: [batch, heads, queries, head_dim], head_dim a power of two, 16 or more.
        k, v: [batch, kv_heads, keys, head_dim]; gradients want kv_heads = heads.
        causal: the queries are the last positions of the keys, queries <= keys.

    Returns:
        [batch, heads, queries, head_dim], on q's device, in q's dtype.
    """
    return _Attention.apply(q, k, v, causal)


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
        home = q.device
        q, k, v = (part.to(DEVICE).contiguous() for part in (q, k, v))
        batch, heads, queries, head_dim = q.shape
        o = torch.empty_like(q)
        lse = torch.empty(batch, heads, queries, dtype=torch.float32, device=q.device)
        sizes = (queries, k.shape[2], head_dim**-0.5)
        grid = lambda chosen: (triton.cdiv(queries, chosen["BLOCK_Q"]), batch * heads)
        _forward[grid](
            q, k, v, o, lse, *sizes, GROUP=heads // k.shape[1], CAUSAL=causal, HEAD_DIM=head_dim
        )
        ctx.save_for_backward(q, k, v, o, lse)
        ctx.causal = causal
        return o.to(home)

    @staticmethod
    def backward(ctx, do: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        q, k, v, o, lse = ctx.saved_tensors
        if k.shape[1] != q.shape[1]:
            raise ValueError(
                f"gradients want as many KV heads as heads; got {k.shape[1]} and {q.shape[1]}"
            )
        home, do = do.device, do.to(q.device).contiguous()
        d = (do.float() * o.float()).sum(-1)
        dq, dk, dv = (torch.empty_like(part) for part in (q, k, v))
        (batch, heads, queries, head_dim), keys = q.shape, k.shape[2]
        sizes = (queries, keys, head_dim**-0.5)
        options = {"CAUSAL": ctx.causal, "HEAD_DIM": head_dim}
        of_keys = lambda chosen: (triton.cdiv(keys, chosen["BLOCK_K"]), batch * heads)
        of_queries = lambda chosen: (triton.cdiv(queries, chosen["BLOCK_Q"]), batch * heads)
        _backward_keys[of_keys](q, k, v, do, lse, d, dk, dv, *sizes, **options)
        _backward_queries[of_queries](q, k, v, do, lse, d, dq, *sizes, **options)
        return dq.to(home), dk.to(home), dv.to(home), None


@triton.autotune(key=KEY, **_to_try("_forward"))
@triton.jit
def _forward(
    q,
    k,
    v,
    o,
    lse,
    queries,
    keys,
    scale,
    GROUP: tl.constexpr,
    CAUSAL: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    BLOCK_Q: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    # The last block of queries has the most tiles under a causal mask: it starts first.
    block = tl.num_programs(0) - 1 - tl.program_id(0)
    head = tl.program_id(1).to(tl.int64)
    q += head * queries * HEAD_DIM
    o += head * queries * HEAD_DIM
    k += head // GROUP * keys * HEAD_DIM
    v += head // GROUP * keys * HEAD_DIM
    rows = block * BLOCK_Q + tl.arange(0, BLOCK_Q)
    own = rows[:, None] * HEAD_DIM + tl.arange(0, HEAD_DIM)[None, :]
    q_block = tl.load(q + own, mask=rows[:, None] < queries, other=0.0)
    m = tl.full([BLOCK_Q], float("-inf"), tl.float32)
    l = tl.zeros([BLOCK_Q], tl.float32)
    acc = tl.zeros([BLOCK_Q, HEAD_DIM], tl.float32)
    past = keys - queries
    seen_by_all, seen = keys, keys
    if CAUSAL:
        seen_by_all = tl.minimum(keys, block * BLOCK_Q + past + 1)
        seen = tl.minimum(keys, (block + 1) * BLOCK_Q + past)
    whole = seen_by_all // BLOCK_K * BLOCK_K
    m, l, acc = _tiles(
        m,
        l,
        acc,
        q_block,
        k,
        v,
        0,
        whole,
        rows + past,
        keys,
        scale * LOG2E,
        False,
        CAUSAL,
        BLOCK_K,
    )
    m, l, acc = _tiles(
        m,
        l,
        acc,
        q_block,
        k,
        v,
        whole,
        seen,
        rows + past,
        keys,
        scale * LOG2E,
        True,
        CAUSAL,
        BLOCK_K,
    )
    tl.store(o + own, (acc / l[:, None]).to(q_block.dtype), mask=rows[:, None] < queries)
    tl.store(lse + head * queries + rows, (m + tl.log2(l)) / LOG2E, mask=rows < queries)


@triton.jit
def _tiles(
    m,
    l,
    acc,
    q_block,
    k,
    v,
    first,
    end,
    limit,
    keys,
    scale,
    MASK: tl.constexpr,
    CAUSAL: tl.constexpr,
    SIZE: tl.constexpr,
):
    # One phase of the loop over the keys. `limit`: the last key that each row sees; `scale` is for powers of two.
    across = tl.arange(0, acc.shape[1])
    for start in range(first, end, SIZE):
        columns = start + tl.arange(0, SIZE)
        k_at = across[:, None] + columns[None, :] * acc.shape[1]
        v_at = columns[:, None] * acc.shape[1] + across[None, :]
        if MASK:
            k_block = tl.load(k + k_at, mask=columns[None, :] < keys, other=0.0)
            v_block = tl.load(v + v_at, mask=columns[:, None] < keys, other=0.0)
        else:
            k_block = tl.load(k + k_at)
            v_block = tl.load(v + v_at)
        s = tl.dot(q_block, k_block) * scale
        if MASK:
            visible = columns[None, :] < keys
            if CAUSAL:
                visible = visible & (columns[None, :] <= limit[:, None])
            s = tl.where(visible, s, float("-inf"))
        new = tl.maximum(m, tl.max(s, 1))
        p = tl.exp2(s - new[:, None])
        shrink = tl.exp2(m - new)
        l = l * shrink + tl.sum(p, 1)
        acc = tl.dot(p.to(v_block.dtype), v_block, acc * shrink[:, None])
        m = new
    return m, l, acc


@triton.autotune(key=KEY, **_to_try("_backward_keys"))
@triton.jit
def _backward_keys(
    q,
    k,
    v,
    do,
    lse,
    d,
    dk,
    dv,
    queries,
    keys,
    scale,
    CAUSAL: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    BLOCK_Q: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    # One block of keys; the queries that see one of them go past.
    first, head = tl.program_id(0) * BLOCK_K, tl.program_id(1).to(tl.int64)
    columns = first + tl.arange(0, BLOCK_K)
    across = tl.arange(0, HEAD_DIM)
    theirs = (head * keys + columns[:, None]) * HEAD_DIM + across[None, :]
    k_block = tl.load(k + theirs, mask=columns[:, None] < keys, other=0.0)
    v_block = tl.load(v + theirs, mask=columns[:, None] < keys, other=0.0)
    dk_block = tl.zeros([BLOCK_K, HEAD_DIM], tl.float32)
    dv_block = tl.zeros([BLOCK_K, HEAD_DIM], tl.float32)
    past, begin = keys - queries, 0
    if CAUSAL:
        begin = tl.maximum(0, first - past) // BLOCK_Q * BLOCK_Q
    for start in range(begin, queries, BLOCK_Q):
        rows = start + tl.arange(0, BLOCK_Q)
        own = (head * queries + rows[:, None]) * HEAD_DIM + across[None, :]
        q_block = tl.load(q + own, mask=rows[:, None] < queries, other=0.0)
        do_block = tl.load(do + own, mask=rows[:, None] < queries, other=0.0)
        sums = tl.load(lse + head * queries + rows, mask=rows < queries, other=float("inf"))
        means = tl.load(d + head * queries + rows, mask=rows < queries, other=0.0)
        p = tl.exp2(
            tl.dot(k_block, tl.trans(q_block)) * (scale * LOG2E) - (sums * LOG2E)[None, :]
        )
        if CAUSAL:
            p = tl.where(columns[:, None] <= rows[None, :] + past, p, 0.0)
        dv_block = tl.dot(p.to(do_block.dtype), do_block, dv_block)
        ds = p * (tl.dot(v_block, tl.trans(do_block)) - means[None, :])
        dk_block = tl.dot(ds.to(q_block.dtype), q_block, dk_block)
    tl.store(dk + theirs, (dk_block * scale).to(k_block.dtype), mask=columns[:, None] < keys)
    tl.store(dv + theirs, dv_block.to(v_block.dtype), mask=columns[:, None] < keys)


@triton.autotune(key=KEY, **_to_try("_backward_queries"))
@triton.jit
def _backward_queries(
    q,
    k,
    v,
    do,
    lse,
    d,
    dq,
    queries,
    keys,
    scale,
    CAUSAL: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    BLOCK_Q: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    # One block of queries; the keys that it sees go past.
    block, head = tl.num_programs(0) - 1 - tl.program_id(0), tl.program_id(1).to(tl.int64)
    rows = block * BLOCK_Q + tl.arange(0, BLOCK_Q)
    across = tl.arange(0, HEAD_DIM)
    own = (head * queries + rows[:, None]) * HEAD_DIM + across[None, :]
    q_block = tl.load(q + own, mask=rows[:, None] < queries, other=0.0)
    do_block = tl.load(do + own, mask=rows[:, None] < queries, other=0.0)
    sums = tl.load(lse + head * queries + rows, mask=rows < queries, other=float("inf"))
    means = tl.load(d + head * queries + rows, mask=rows < queries, other=0.0)
    dq_block = tl.zeros([BLOCK_Q, HEAD_DIM], tl.float32)
    past, end = keys - queries, keys
    if CAUSAL:
        end = tl.minimum(keys, (block + 1) * BLOCK_Q + past)
    for start in range(0, end, BLOCK_K):
        columns = start + tl.arange(0, BLOCK_K)
        theirs = (head * keys + columns[:, None]) * HEAD_DIM + across[None, :]
        k_block = tl.load(k + theirs, mask=columns[:, None] < keys, other=0.0)
        v_block = tl.load(v + theirs, mask=columns[:, None] < keys, other=0.0)
        p = tl.exp2(
            tl.dot(q_block, tl.trans(k_block)) * (scale * LOG2E) - (sums * LOG2E)[:, None]
        )
        visible = columns[None, :] < keys
        if CAUSAL:
            visible = visible & (columns[None, :] <= rows[:, None] + past)
        ds = tl.where(visible, p, 0.0) * (tl.dot(do_block, tl.trans(v_block)) - means[:, None])
        dq_block = tl.dot(ds.to(k_block.dtype), k_block, dq_block)
    tl.store(dq + own, (dq_block * scale).to(q_block.dtype), mask=rows[:, None] < queries)
