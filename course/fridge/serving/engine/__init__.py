"""The serving engine: what the parts of unit 04 become when they are put together and made fast.

Read it in this order: `blocks` (who owns which memory), `paged_cache` (the memory), `scheduler` (whose turn it is),
`batch` (one step as a few flat tensors), `attention` (reading through the block table), `linears` (the matrix
products), `paged_llama` (the model), `sampling` (from logits to a token), `engine` (the loop around them).
"""

from fridge.serving.engine.blocks import BlockAllocator, OutOfBlocks
from fridge.serving.engine.engine import Engine, Finished, Output
from fridge.serving.engine.paged_cache import PagedKVCache
from fridge.serving.engine.sampling import GREEDY, Sampling
from fridge.serving.engine.scheduler import QueueFull, Scheduler, Sequence

__all__ = [
    "GREEDY",
    "BlockAllocator",
    "Engine",
    "Finished",
    "OutOfBlocks",
    "Output",
    "PagedKVCache",
    "QueueFull",
    "Sampling",
    "Scheduler",
    "Sequence",
]
