"""Attention through the block table: no sequence is ever copied into one piece for decoding.

A decoding query meets each of its blocks by itself; the blocks' partial softmaxes are then joined per query, as
FlashAttention joins its tiles (unit 06). Kwon et al. 2023, section 4.3; vLLM's PagedAttention V2 splits the same way.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from fridge.engine.batch import Batch, Chunk, Decode
from fridge.engine.paged_cache import PagedKVCache


def paged_attention(q: Tensor, cache: PagedKVCache, layer: int, batch: Batch) -> Tensor:
    """Causal attention of a step's tokens to all keys of their own sequences, which the cache already holds.

    Args:
        q: [tokens, kv_heads, group, head_dim]; `group` query heads share a KV head.

    Returns:
        [tokens, kv_heads * group * head_dim].
    """
    parts = [] if batch.decode is None else [_decode(q[: batch.decode.rows], cache, layer, batch.decode)]
    parts += [_prefill(q[chunk.start : chunk.end], cache, layer, chunk) for chunk in batch.chunks]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _decode(q: Tensor, cache: PagedKVCache, layer: int, decode: Decode) -> Tensor:
    rows, kv_heads, group, head_dim = q.shape
    k, v = cache.read(layer, decode.blocks)
    q = (q * head_dim**-0.5).transpose(0, 1).index_select(1, decode.owner)
    scores = (q @ k.transpose(2, 3)).add_(decode.hidden)  # [kv_heads, pairs, group, block_size]

    # The softmax of a row runs over all of its pairs: one maximum, one sum, one weighted mean for each row.
    owner = decode.owner.view(1, -1, 1).expand(kv_heads, -1, group)
    highest = torch.full((kv_heads, rows, group), -torch.inf).scatter_reduce_(1, owner, scores.amax(-1), "amax")
    weights = scores.sub_(highest.index_select(1, decode.owner)[..., None]).exp_()
    total = torch.zeros(kv_heads, rows, group).index_add_(1, decode.owner, weights.sum(-1))
    mixed = torch.zeros(kv_heads, rows, group, head_dim).index_add_(1, decode.owner, weights @ v)
    return mixed.div_(total[..., None]).transpose(0, 1).reshape(rows, -1)


def _prefill(q: Tensor, cache: PagedKVCache, layer: int, chunk: Chunk) -> Tensor:
    new = chunk.end - chunk.start
    q = q.flatten(1, 2).transpose(0, 1)[None]  # [1, heads, new, head_dim]
    k, v = (part.flatten(1, 2)[None, :, : chunk.length] for part in cache.read(layer, chunk.blocks))
    if new == chunk.length:
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    else:  # the chunk's queries are the last positions of its keys
        visible = torch.ones(new, chunk.length, dtype=torch.bool).tril(diagonal=chunk.length - new)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=visible, enable_gqa=True)
    return out[0].transpose(0, 1).reshape(new, -1)
