"""Who owns which block of the KV cache: free list, owners' counts, and full blocks found again by their content.

Kwon et al. 2023 (PagedAttention), sections 4.2 to 4.4; vLLM's `BlockPool` does the same. Prefix caching by chained
hashes as in vLLM's automatic prefix caching: a key stands for a block's tokens and all tokens before them.
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Hashable


class OutOfBlocks(RuntimeError):
    """More blocks were asked for than are free."""


class BlockAllocator:
    """Blocks 0 to num_blocks - 1, each free, owned by one or more sequences, or kept for its content.

    A block whose last owner lets go of it keeps its content while nobody needs the room: it can be shared again by
    `find`, and the one unused for longest is the first to be given away.

    Attributes:
        num_blocks: how many there are.
        ref_count: [num_blocks], owners of each block.
    """

    def __init__(self, num_blocks: int):
        if num_blocks < 1:
            raise ValueError(f"a cache needs at least one block, not {num_blocks}")
        self.num_blocks = num_blocks
        self.ref_count = [0] * num_blocks
        self._empty = deque(range(num_blocks))
        self._kept: OrderedDict[int, None] = OrderedDict()  # without owners but with content, longest unused first
        self._block_of: dict[Hashable, int] = {}
        self._key_of: dict[int, Hashable] = {}

    @property
    def num_free(self) -> int:
        """Blocks that `allocate` can still give."""
        return len(self._empty) + len(self._kept)

    @property
    def kept(self) -> list[int]:
        """Blocks without owners that still hold something, the longest unused first."""
        return list(self._kept)

    def allocate(self, count: int) -> list[int]:
        """Give `count` blocks to a first owner.

        Raises:
            OutOfBlocks: so many aren't free; nothing has changed.
        """
        if count > self.num_free:
            raise OutOfBlocks(f"{count} blocks are needed and {self.num_free} of {self.num_blocks} are free")
        return [self._take() for _ in range(count)]

    def share(self, block: int) -> None:
        """Add an owner to a block that has one, or that is kept for its content."""
        if block in self._kept:
            del self._kept[block]
        elif self.ref_count[block] == 0:
            raise ValueError(f"block {block} has no owner and no content to share")
        self.ref_count[block] += 1

    def free(self, blocks: list[int]) -> None:
        """Take one owner from each block.

        Raises:
            ValueError: a block has no owner; nothing has changed.
        """
        for block, times in Counter(blocks).items():
            if not 0 <= block < self.num_blocks or self.ref_count[block] < times:
                raise ValueError(f"block {block} is freed more often than it was given")
        for block in reversed(blocks):  # a sequence's last block first: the beginning is what others may share
            self.ref_count[block] -= 1
            if self.ref_count[block] == 0:
                if block in self._key_of:
                    self._kept[block] = None
                else:
                    self._empty.append(block)

    def remember(self, block: int, key: Hashable) -> None:
        """Note that an owned block is full, and with what. The first block of a content is the one that is found."""
        if key not in self._block_of:
            self._forget(block)
            self._block_of[key] = block
            self._key_of[block] = key

    def find(self, key: Hashable) -> int | None:
        """The block that holds this content, with or without an owner; None if there is none."""
        return self._block_of.get(key)

    def clear_kept(self) -> None:
        """Forget the content of all blocks without owners."""
        while self._kept:
            block, _ = self._kept.popitem()
            self._forget(block)
            self._empty.append(block)

    def _take(self) -> int:
        if self._empty:
            block = self._empty.popleft()
        else:
            block, _ = self._kept.popitem(last=False)
            self._forget(block)
        self.ref_count[block] = 1
        return block

    def _forget(self, block: int) -> None:
        key = self._key_of.pop(block, None)
        if key is not None:
            del self._block_of[key]
