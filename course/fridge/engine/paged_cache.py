"""The memory of the KV cache: one pool of slots for all sequences, `block_size` slots to a block.

Kwon et al. 2023, section 4.1. A token's slot is block * block_size + offset; vLLM calls the slots of a step's tokens
its slot_mapping. The pool is reserved once, and nothing in it ever moves.
"""

import torch
from torch import Tensor

from fridge.llama import LlamaConfig


class PagedKVCache:
    """Keys and values by slot.

    Attributes:
        k, v: [layers, kv_heads, num_blocks * block_size, head_dim].
        nbytes: bytes reserved.
    """

    def __init__(self, config: LlamaConfig, num_blocks: int, block_size: int, dtype: torch.dtype = torch.float32):
        if block_size < 1:
            raise ValueError(f"a block holds at least one token, not {block_size}")
        shape = (config.layers, config.kv_heads, num_blocks * block_size, config.head_dim)
        self.k, self.v = torch.zeros(shape, dtype=dtype), torch.zeros(shape, dtype=dtype)
        self.block_size = block_size
        self.nbytes = self.k.nbytes + self.v.nbytes

    def write(self, layer: int, k: Tensor, v: Tensor, slot_mapping: Tensor) -> None:
        """Store new keys and values [kv_heads, tokens, head_dim] in the slots [tokens]: the new tokens' bytes move."""
        self.k[layer].index_copy_(1, slot_mapping, k)
        self.v[layer].index_copy_(1, slot_mapping, v)

    def read(self, layer: int, blocks: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values [kv_heads, blocks, block_size, head_dim] of the blocks [blocks], in their order."""
        by_block = (-1, self.block_size * self.k.shape[-1])
        shape = (self.k.shape[1], len(blocks), self.block_size, self.k.shape[-1])
        k = self.k[layer].view(self.k.shape[1], *by_block).index_select(1, blocks)
        v = self.v[layer].view(self.k.shape[1], *by_block).index_select(1, blocks)
        return k.view(shape), v.view(shape)
