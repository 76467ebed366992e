"""Attention by the book, in float64: what tests of unit 06 compare tiled attention with."""

import torch
from torch import Tensor


def exact_attention(q: Tensor, k: Tensor, v: Tensor, causal: bool = False) -> tuple[Tensor, Tensor]:
    """Output and log-sum-exp of the scaled scores, in float64; gradients flow through both.

    Args:
        q: [..., heads, queries, head_dim], or [queries, head_dim].
        k, v: [..., kv_heads, keys, head_dim], or [keys, head_dim]; each KV head serves as many neighbouring heads.
        causal: the queries are the last positions of the keys, and see no later ones.

    Returns:
        (o, lse): shaped as q, and as q without its last dimension.
    """
    q, k, v = q.double(), k.double(), v.double()
    if q.ndim > 2:
        k, v = (part.repeat_interleave(q.shape[-3] // part.shape[-3], dim=-3) for part in (k, v))
    scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
    if causal:
        queries, keys = scores.shape[-2:]
        seen = torch.ones(queries, keys, dtype=torch.bool).tril(diagonal=keys - queries)
        scores = scores.masked_fill(~seen, -torch.inf)
    return scores.softmax(-1) @ v, scores.logsumexp(-1)
