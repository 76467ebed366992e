"""The memory of the KV cache: one pool of slots for all sequences, `block_size` slots to a block.

Kwon et al. 2023, section 4.1. A token's slot is block * block_size + offset; vLLM calls the slots of a step's tokens
its slot_mapping. The pool is reserved once, and nothing in it ever moves.
"""

import torch
from torch import Tensor

from fridge.models.llama import LlamaConfig


class PagedKVCache:
    """Keys and values by slot.

    In a layer, all that a block holds lies side by side, keys and values of all heads: a read copies one long stretch
    for each block, which is faster than a short one for each head.

    Attributes:
        pool: [layers, num_blocks, block_size, 2 * kv_heads, head_dim], the heads' keys before their values.
        nbytes: bytes reserved.
    """

    def __init__(self, config: LlamaConfig, num_blocks: int, block_size: int, dtype: torch.dtype = torch.float32):
        if block_size < 1:
            raise ValueError(f"a block holds at least one token, not {block_size}")
        shape = (config.layers, num_blocks, block_size, 2 * config.kv_heads, config.head_dim)
        self.pool = torch.zeros(shape, dtype=dtype)
        self.block_size = block_size
        self.nbytes = self.pool.nbytes

    def write(self, layer: int, k_and_v: Tensor, slot_mapping: Tensor) -> None:
        """Store new keys and values [tokens, 2 * kv_heads, head_dim] in the slots [tokens]: only their bytes move."""
        self.pool[layer].flatten(0, 1).index_copy_(0, slot_mapping, k_and_v)

    def read(self, layer: int, tables: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of block tables [rows, width]: [rows, kv_heads, width * block_size, head_dim] each."""
        blocks = self.pool[layer].flatten(1).index_select(0, tables.flatten())
        k_and_v = blocks.view(len(tables), -1, *self.pool.shape[3:]).transpose(1, 2)
        k, v = k_and_v.chunk(2, dim=1)
        return k, v
