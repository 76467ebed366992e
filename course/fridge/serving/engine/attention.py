"""Attention through the block table: a group's keys and values are gathered block by block and met in one operation.

Kwon et al. 2023, section 4.3, reads the blocks where they are, with a kernel made for it. PyTorch has none for the CPU;
gathering whole blocks for PyTorch's fused attention comes next to it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from fridge.serving.engine.batch import Batch
from fridge.serving.engine.paged_cache import PagedKVCache


def paged_attention(q: Tensor, cache: PagedKVCache, layer: int, batch: Batch) -> Tensor:
    """Causal attention of a step's tokens to all keys of their own sequences, which the cache already holds.

    Args:
        q: [tokens, heads, head_dim]; heads / kv_heads neighbours share a KV head.

    Returns:
        [tokens, heads * head_dim].
    """
    mixed = torch.empty_like(q)
    for group in batch.groups:
        new = slice(group.start, group.end)
        k, v = cache.read(layer, group.tables)  # [rows, kv_heads, slots, head_dim]
        rows = q[new].unflatten(0, (len(k), -1)).transpose(1, 2)  # [rows, heads, new, head_dim]
        out = F.scaled_dot_product_attention(rows, k, v, attn_mask=group.hidden, enable_gqa=True)
        mixed[new] = out.transpose(1, 2).flatten(0, 1)
    return mixed.flatten(1)
