"""Whose turn it is: before every step, not before every batch (continuous batching, 连续批处理).

Yu et al. 2022 (Orca), section 3: iteration-level scheduling. Prompts are fed in chunks beside the decoding of others
(Agrawal et al. 2023, Sarathi), and when blocks run out the youngest sequence gives its own back and starts over later
(Kwon et al. 2023, section 4.5: recomputation). vLLM's V1 scheduler works by the same rules.
"""

import hashlib
from array import array
from collections import deque
from dataclasses import dataclass, field

from fridge.serving.engine.blocks import BlockAllocator
from fridge.serving.engine.sampling import GREEDY, Sampler


class QueueFull(RuntimeError):
    """As many requests wait as may: come back later."""


@dataclass(eq=False)
class Sequence:
    """One request on its way.

    Attributes:
        sampler: chooses its tokens.
        tokens: the prompt and what has been generated so far.
        computed: how many of them have keys and values in the cache.
        block_table: the blocks that hold those, in order; the last may be partly filled.
    """

    prompt: list[int]
    max_new_tokens: int
    stop_token: int | None = None
    sampler: Sampler = field(default_factory=lambda: Sampler(GREEDY))
    tokens: list[int] = field(init=False)
    computed: int = 0
    block_table: list[int] = field(default_factory=list)
    _keys: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tokens = list(self.prompt)

    @property
    def reply(self) -> list[int]:
        """What has been generated so far, without the stop token."""
        generated = self.tokens[len(self.prompt) :]
        return generated[:-1] if self.stopped else generated

    @property
    def finished(self) -> bool:
        """Whether the reply is complete."""
        return self.stopped or len(self.tokens) - len(self.prompt) >= self.max_new_tokens

    @property
    def stopped(self) -> bool:
        """Whether its last token is the one that ends a reply."""
        return len(self.tokens) > len(self.prompt) and self.tokens[-1] == self.stop_token

    def keys(self, start: int, end: int, block_size: int) -> list[bytes]:
        """What its blocks from `start` up to `end` hold, as hashes of their tokens and all tokens before them."""
        while len(self._keys) < end:
            before = self._keys[-1] if self._keys else b""
            own = self.tokens[len(self._keys) * block_size : (len(self._keys) + 1) * block_size]
            self._keys.append(hashlib.sha256(before + array("q", own).tobytes()).digest())
        return self._keys[start:end]


class Scheduler:
    """Waiting and running sequences, and the blocks between them.

    Args:
        allocator: of the cache's blocks.
        block_size: tokens in a block.
        max_sequences: largest number that run at once.
        token_budget: largest number of tokens in a step; a prompt longer than what is left of it is cut into chunks.
        max_waiting: largest number that may wait; None lets any number.
    """

    def __init__(
        self,
        allocator: BlockAllocator,
        block_size: int,
        max_sequences: int,
        token_budget: int,
        max_waiting: int | None = None,
    ):
        if not 1 <= max_sequences <= token_budget:
            raise ValueError(f"{max_sequences} sequences of a token each don't fit a budget of {token_budget} tokens")
        self.allocator = allocator
        self.block_size = block_size
        self.max_sequences = max_sequences
        self.token_budget = token_budget
        self.max_waiting = max_waiting
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []  # oldest first
        self.preemptions = 0

    def add(self, sequence: Sequence) -> None:
        """Queue a sequence.

        Raises:
            ValueError: it is longer than the whole cache, and would wait for ever.
            QueueFull: as many wait already as may.
        """
        length = len(sequence.prompt) + sequence.max_new_tokens - 1  # the last token is never fed
        if not sequence.prompt or sequence.max_new_tokens < 1:
            raise ValueError("a request needs a prompt of at least one token, and asks for at least one")
        if self._blocks_for(length) > self.allocator.num_blocks:
            raise ValueError(f"{length} tokens don't fit into {self.allocator.num_blocks} blocks of {self.block_size}")
        if self.max_waiting is not None and len(self.waiting) >= self.max_waiting:
            raise QueueFull(f"{len(self.waiting)} requests wait already; come back later")
        self.waiting.append(sequence)

    def schedule(self) -> list[tuple[Sequence, int]]:
        """The next step: each sequence with the number of its tokens to compute, decoding before prompts."""
        budget, step, preempted = self.token_budget, [], self.preemptions
        for sequence in sorted(self.running, key=lambda s: len(s.tokens) - s.computed > 1):
            new = min(len(sequence.tokens) - sequence.computed, budget)
            if sequence in self.running and new and self._make_room(sequence, new):
                step.append((sequence, new))
                budget -= new
        # Someone who had to leave in favour of an earlier one is in the step no more.
        step = [(sequence, new) for sequence, new in step if sequence in self.running]
        if self.preemptions == preempted:  # who has had to leave must not come back in the same step
            step += self._admit(budget)
        return step

    def computed(self, sequence: Sequence, new: int) -> None:
        """The step has computed `new` tokens of this sequence: full blocks can be found by others from now on."""
        before, sequence.computed = sequence.computed // self.block_size, sequence.computed + new
        after = sequence.computed // self.block_size
        keys = sequence.keys(before, after, self.block_size)
        for block, key in zip(sequence.block_table[before:after], keys, strict=True):
            self.allocator.remember(block, key)

    def finish(self, sequence: Sequence) -> None:
        """A sequence is complete, or nobody wants it any more: it leaves at once, and so do its blocks."""
        if sequence in self.running:
            self.running.remove(sequence)
        else:
            self.waiting.remove(sequence)
        self._release(sequence)

    def _admit(self, budget: int) -> list[tuple[Sequence, int]]:
        # First come, first served: whoever is next and doesn't fit waits, and everyone behind waits too.
        step = []
        while self.waiting and budget and len(self.running) < self.max_sequences:
            sequence = self.waiting[0]
            self._share_prefix(sequence)
            new = min(len(sequence.tokens) - sequence.computed, budget)
            needed = self._blocks_for(sequence.computed + new) - len(sequence.block_table)
            if needed > self.allocator.num_free:
                self._release(sequence)
                break
            sequence.block_table += self.allocator.allocate(needed)
            self.running.append(self.waiting.popleft())
            step.append((sequence, new))
            budget -= new
        return step

    def _share_prefix(self, sequence: Sequence) -> None:
        # The last token is always computed: without a query there are no logits for the next one.
        full = (len(sequence.tokens) - 1) // self.block_size
        for key in sequence.keys(0, full, self.block_size):
            block = self.allocator.find(key)
            if block is None:
                break
            self.allocator.share(block)
            sequence.block_table.append(block)
        sequence.computed = len(sequence.block_table) * self.block_size

    def _make_room(self, sequence: Sequence, new: int) -> bool:
        needed = self._blocks_for(sequence.computed + new) - len(sequence.block_table)
        while needed > self.allocator.num_free:
            youngest = self.running.pop()
            self.preemptions += 1
            self._release(youngest)
            self.waiting.appendleft(youngest)
            if youngest is sequence:
                return False
        sequence.block_table += self.allocator.allocate(needed)
        return True

    def _release(self, sequence: Sequence) -> None:
        self.allocator.free(sequence.block_table)
        sequence.block_table, sequence.computed = [], 0

    def _blocks_for(self, tokens: int) -> int:
        return -(-tokens // self.block_size)
