"""Memory for paged attention, and the step of a model that uses it.

`KVPool` is memory and nothing else: it knows slots, not sequences. `PagedRunner` puts block tables, an attention
function and `fridge.models.llama`'s layers together for a ragged batch, as vLLM's model runner does (Kwon et al. 2023).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from fridge.models.llama import Llama, rope_table, rotate

PagedAttention = Callable[[Tensor, Tensor, Tensor, list[list[int]], list[int], list[int]], Tensor]


class KVPool:
    """Keys and values in blocks of `block_size` tokens. Slot number `block * block_size + offset` is one token's place.

    Attributes:
        k, v: [layers, num_blocks, block_size, kv_heads, head_dim], reserved once.
        block_size, num_blocks: the division.
        nbytes: bytes reserved.
    """

    def __init__(
        self,
        layers: int,
        num_blocks: int,
        block_size: int,
        kv_heads: int,
        head_dim: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ):
        shape = (layers, num_blocks, block_size, kv_heads, head_dim)
        self.k = torch.zeros(shape, dtype=dtype, device=device)
        self.v = torch.zeros(shape, dtype=dtype, device=device)
        self.block_size, self.num_blocks = block_size, num_blocks
        self.nbytes = self.k.nbytes + self.v.nbytes

    @classmethod
    def for_model(cls, model: Llama, num_blocks: int, block_size: int) -> "KVPool":
        """A pool for a model's keys and values."""
        c = model.config
        return cls(c.layers, num_blocks, block_size, c.kv_heads, c.head_dim, model.dtype, model.device)

    def write(self, layer: int, slots: Sequence[int] | Tensor, k: Tensor, v: Tensor) -> None:
        """Store one layer's keys and values [new, kv_heads, head_dim] in these slots."""
        slots = torch.as_tensor(slots, device=self.k.device)
        self.k[layer].flatten(0, 1)[slots] = k
        self.v[layer].flatten(0, 1)[slots] = v

    def read(self, layer: int, slots: Sequence[int] | Tensor) -> tuple[Tensor, Tensor]:
        """One layer's keys and values in these slots, [len(slots), kv_heads, head_dim] each."""
        slots = torch.as_tensor(slots, dtype=torch.long, device=self.k.device)
        return self.k[layer].flatten(0, 1)[slots], self.v[layer].flatten(0, 1)[slots]

    def copy_block(self, source: int, target: int) -> None:
        """Copy a whole block, in all layers."""
        self.k[:, target] = self.k[:, source]
        self.v[:, target] = self.v[:, source]


class Allocator(Protocol):
    """What the functions below ask of an allocator: exercise `block-allocator` of unit 04."""

    def blocks_for(self, tokens: int) -> int:
        """Blocks that hold so many tokens."""
        ...

    def allocate(self, count: int) -> list[int]:
        """Free blocks."""
        ...


class Prefixes(Protocol):
    """A store of computed prefixes: exercise `prefix-cache` of unit 04."""

    def match(self, tokens: list[int]) -> list[int]:
        """Blocks of the longest prefix that is there."""
        ...

    def store(self, tokens: list[int], block_table: list[int]) -> None:
        """Take in a sequence's full blocks."""
        ...


@dataclass(frozen=True)
class Piece:
    """One sequence's part in a step: these tokens, from position `start` on, in the blocks of this table."""

    tokens: list[int]
    start: int
    block_table: list[int]


class PagedRunner:
    """One step of a model for sequences of any lengths: the tokens lie side by side, and no row is padded."""

    def __init__(self, model: Llama, pool: KVPool, attention: PagedAttention):
        self.model, self.pool, self.attention = model, pool, attention

    @torch.no_grad()
    def step(self, pieces: list[Piece]) -> Tensor:
        """Store the pieces' keys and values and return the logits after each piece, [pieces, vocab_size]."""
        model, pool = self.model, self.pool
        device = model.device
        tokens = torch.tensor([[token for piece in pieces for token in piece.tokens]], device=device)
        positions = [range(piece.start, piece.start + len(piece.tokens)) for piece in pieces]
        slots = torch.tensor(
            [
                piece.block_table[p // pool.block_size] * pool.block_size + p % pool.block_size
                for piece, own in zip(pieces, positions, strict=True)
                for p in own
            ],
            device=device,
        )
        tables = [piece.block_table for piece in pieces]
        query_lengths = [len(piece.tokens) for piece in pieces]
        lengths = [own.stop for own in positions]
        flat = torch.tensor([p for own in positions for p in own], device=device)
        cos, sin = rope_table(flat, model.inv_freq, model.dtype)

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            q, k = rotate(q, cos, sin), rotate(k, cos, sin)  # [1, heads, tokens, head_dim]
            pool.write(layer, slots, k[0].transpose(0, 1), v[0].transpose(0, 1))
            out = self.attention(q[0].transpose(0, 1), pool.k[layer], pool.v[layer], tables, lengths, query_lengths)
            return out.transpose(0, 1)[None]

        hidden = model.model(tokens, attend)[0]
        last = torch.tensor(query_lengths, device=device).cumsum(0) - 1
        return model.lm_head(hidden[last])


def prefill(
    runner: PagedRunner, allocator: Allocator, tokens: list[int], prefixes: Prefixes | None = None
) -> tuple[Tensor, list[int], int]:
    """Compute a prompt, but for the prefix that is there already.

    Returns:
        (logits [vocab_size] after the last token, block table, number of tokens computed).
    """
    found = [] if prefixes is None else list(prefixes.match(tokens))  # an empty one is False
    table = found + list(allocator.allocate(allocator.blocks_for(len(tokens)) - len(found)))
    start = len(found) * runner.pool.block_size
    logits = runner.step([Piece(tokens[start:], start, table)])[0]
    if prefixes is not None:
        prefixes.store(tokens, table)
    return logits, table, len(tokens) - start


def sample_together(
    runner: PagedRunner,
    allocator: Allocator,
    fork: Callable[[list[int], Allocator], list[int]],
    make_writable: Callable[..., list[int]],
    prompt: list[int],
    samples: int,
    new_tokens: int,
    seed: int = 0,
) -> tuple[list[list[int]], list[list[int]]]:
    """Several random replies to one prompt, which is computed once and shared.

    Returns:
        (replies, block tables).
    """
    generator = torch.Generator().manual_seed(seed)
    logits, table, _ = prefill(runner, allocator, prompt)
    tables = [table] + [list(fork(list(table), allocator)) for _ in range(samples - 1)]
    logits = logits.expand(samples, -1)
    replies: list[list[int]] = [[] for _ in range(samples)]
    for position in range(len(prompt), len(prompt) + new_tokens):
        chosen = torch.multinomial(logits.float().softmax(-1).cpu(), 1, generator=generator)[:, 0].tolist()
        for index, token in enumerate(chosen):
            replies[index].append(token)
            if allocator.blocks_for(position + 1) > len(tables[index]):
                tables[index] += list(allocator.allocate(1))
            tables[index] = list(make_writable(tables[index], position, position + 1, allocator, runner.pool))
        logits = runner.step([Piece([token], position, own) for token, own in zip(chosen, tables, strict=True)])
    return replies, tables
