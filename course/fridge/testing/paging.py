"""Memory and an allocator that a test of unit 04 owns: they count what is asked of them and object to misuse.

With them a mistake in one exercise costs its points once: the exercises behind it are tested on these.
"""

import random
from collections import Counter
from typing import Any

import torch
from torch import Tensor

from fridge.serving.paging import KVPool
from fridge.testing.expect import InWords, wrong
from fridge.workbench import arguments

LEFTOVER = 1e4  # what a block holds before anything is written: keys and values of a sequence that has gone


class CountingPool:
    """Stands for a `fridge.serving.paging.KVPool` in a test: it counts, and starts full of leftovers.

    Attributes:
        slots_read, blocks_copied: the work so far; a slot counts once for each layer.
        learner_may: what a learner's code may use of it when the test runs in another process.
    """

    learner_may = ("read", "copy_block", "block_size", "num_blocks")

    def __init__(self, layers: int, num_blocks: int, block_size: int, kv_heads: int = 1, head_dim: int = 2):
        self._pool = KVPool(layers, num_blocks, block_size, kv_heads, head_dim)
        self._pool.k.fill_(LEFTOVER)
        self._pool.v.fill_(-LEFTOVER)
        self.num_blocks, self.block_size, self._layers = num_blocks, block_size, layers
        self.slots_read = self.blocks_copied = 0

    def write(self, layer: int, slots: list[int], k: Tensor, v: Tensor) -> None:
        """As the pool's; for the test, which is the only one that writes."""
        self._pool.write(layer, _numbers(slots, self.num_blocks * self.block_size, "slots that are written"), k, v)

    def read(self, layer: int, slots: object) -> tuple[Tensor, Tensor]:
        """As the pool's. Raises Wrong for a layer or slots that it hasn't got."""
        layer = _number(layer, self._layers, "layer that is read")
        numbers = _numbers(slots, self.num_blocks * self.block_size, "slots that are read")
        self.slots_read += len(numbers)
        return self._pool.read(layer, numbers)

    def copy_block(self, source: int, target: int) -> None:
        """As the pool's. Raises Wrong for blocks that it hasn't got, or a copy onto itself."""
        source = _number(source, self.num_blocks, "source, the block that is copied")
        target = _number(target, self.num_blocks, "target, the block that is copied to")
        if source == target:
            raise wrong(
                "source and target of a copy", "two blocks, the target newly allocated", InWords(f"{source} twice")
            )
        self.blocks_copied += 1
        self._pool.copy_block(source, target)


class SpareAllocator:
    """An allocator that works as exercise `block-allocator` asks, and hands its blocks out in no particular order.

    Attributes:
        num_blocks, block_size, num_free: as there.
        learner_may: what a learner's code may use of it when the test runs in another process.
    """

    learner_may = ("allocate", "share", "free", "ref_count", "blocks_for", "num_blocks", "block_size", "num_free")

    def __init__(self, num_blocks: int, block_size: int, seed: int = 0):
        self.num_blocks, self.block_size = num_blocks, block_size
        self._counts = dict.fromkeys(range(num_blocks), 0)
        self._random = random.Random(seed)

    @property
    def num_free(self) -> int:
        """Blocks without an owner."""
        return sum(count == 0 for count in self._counts.values())

    def blocks_for(self, tokens: int) -> int:
        """Blocks that hold so many tokens."""
        return -(-_number(tokens, arguments.MOST, "tokens that blocks are to hold") // self.block_size)

    def allocate(self, count: int) -> list[int]:
        """Free blocks, each with one owner now. Raises Wrong if there are not so many."""
        free = [block for block, owners in self._counts.items() if not owners]
        wanted = arguments.whole(count)
        if wanted is None or not 0 <= wanted <= len(free):
            got = InWords(arguments.said(count))
            raise wrong("count of blocks asked of the allocator", f"at most {len(free)}, which are free", got)
        chosen = self._random.sample(free, wanted)
        for block in chosen:
            self._counts[block] = 1
        return chosen

    def share(self, blocks: object) -> None:
        """One owner more for each. Raises Wrong for blocks without an owner."""
        for block in self._owned(blocks, "shared"):
            self._counts[block] += 1

    def free(self, blocks: object) -> None:
        """One owner less for each. Raises Wrong for blocks without an owner."""
        for block in self._owned(blocks, "freed"):
            self._counts[block] -= 1

    def ref_count(self, block: int) -> int:
        """Owners of a block."""
        return self._counts[_number(block, self.num_blocks, "block whose owners are counted")]

    def _owned(self, blocks: object, verb: str) -> list[int]:
        numbers = _numbers(blocks, self.num_blocks, f"blocks that are {verb}")
        for block, times in Counter(numbers).items():
            if self._counts[block] < (times if verb == "freed" else 1):
                raise wrong(
                    f"how often a block is {verb}",
                    f"at most {self._counts[block]} times, the number of its owners",
                    InWords(f"{times} times, block {block}"),
                    "a block is freed twice, or used after it was freed",
                )
        return numbers


class Full(ValueError):
    """There are not so many free blocks. It is an answer, which code may count on, and no mistake."""

    is_an_answer = True


class TightAllocator(SpareAllocator):
    """One whose blocks are meant to run out: it refuses as exercise `block-allocator` asks, by a ValueError."""

    def allocate(self, count: int) -> list[int]:
        """As there. Raises Full if there are not so many."""
        wanted = arguments.whole(count)
        if wanted is not None and wanted > self.num_free:
            raise Full(f"{wanted} blocks were asked for; free: {self.num_free}")
        return super().allocate(count)


def _number(given: Any, limit: int, what: str) -> int:
    number = arguments.whole(given)
    if number is None or not 0 <= number < limit:
        raise wrong(what, f"a number from 0 to {limit - 1}", InWords(arguments.said(given)))
    return number


def _numbers(given: Any, limit: int, what: str) -> list[int]:
    numbers = arguments.wholes(given)
    if numbers is None:
        raise wrong(what, "a list of whole numbers", InWords(arguments.said(given)))
    strangers = [number for number in numbers if not 0 <= number < limit]
    if strangers:
        raise wrong(what, f"numbers from 0 to {limit - 1}", InWords(f"{strangers[:8]}"))
    return numbers


def dense_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The oracle of paged attention, in float64: q [new, heads, head_dim], k and v [total, kv_heads, head_dim]."""
    q, k, v = (part.double().transpose(0, 1) for part in (q, k, v))
    k, v = (part.repeat_interleave(q.shape[0] // part.shape[0], dim=0) for part in (k, v))
    new, total = q.shape[1], k.shape[1]
    scores = q @ k.transpose(1, 2) / q.shape[2] ** 0.5
    hidden = ~torch.ones(new, total, dtype=torch.bool).tril(diagonal=total - new)
    return (scores.masked_fill(hidden, -torch.inf).softmax(-1) @ v).transpose(0, 1)
