"""One step of many sequences as a few flat tensors: tokens side by side, no padding.

A sequence with one new token is *decoding*, one with more is *prefilling*. The tensors are made once a step and used
in each layer. vLLM's attention metadata holds the same.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from fridge.engine.scheduler import Sequence


@dataclass(frozen=True)
class Decode:
    """The decoding tokens' way to their keys: one row a token, one *pair* for each block of each row.

    Attributes:
        rows: how many tokens; they come first in the batch.
        blocks: [pairs], the block of each pair.
        owner: [pairs], the row of each pair.
        hidden: [pairs, 1, block_size], 0 where a slot holds one of the row's keys and -inf where it doesn't.
    """

    rows: int
    blocks: Tensor
    owner: Tensor
    hidden: Tensor


@dataclass(frozen=True)
class Chunk:
    """A prompt's new tokens: `start` and `end` in the batch, and the `blocks` [blocks] that hold `length` keys."""

    start: int
    end: int
    blocks: Tensor
    length: int


@dataclass(frozen=True)
class Batch:
    """A step.

    Attributes:
        sequences: with the number of new tokens of each, the decoding ones first.
        tokens, positions, slot_mapping: [tokens].
        decode: None when nobody decodes.
        chunks: of those who prefill.
        answers: [answers], the tokens whose logits choose a next token; `answering` are their sequences.
    """

    sequences: list[tuple[Sequence, int]]
    tokens: Tensor
    positions: Tensor
    slot_mapping: Tensor
    decode: Decode | None
    chunks: list[Chunk]
    answers: Tensor
    answering: list[Sequence]


def make_batch(step: list[tuple[Sequence, int]], block_size: int) -> Batch:
    """The tensors of a scheduled step; the blocks for its tokens are in the sequences' tables already."""
    step = sorted(step, key=lambda item: item[1] > 1)  # stable: decoding first, else as scheduled
    tokens: list[int] = []
    positions: list[int] = []
    slots: list[int] = []
    chunks: list[Chunk] = []
    answers: list[int] = []
    answering: list[Sequence] = []
    for sequence, new in step:
        start, end = sequence.computed, sequence.computed + new
        if new > 1:
            blocks = torch.tensor(sequence.block_table)
            chunks.append(Chunk(len(tokens), len(tokens) + new, blocks, end))
        tokens += sequence.tokens[start:end]
        positions += range(start, end)
        slots += (sequence.block_table[i // block_size] * block_size + i % block_size for i in range(start, end))
        if end == len(sequence.tokens):
            answers.append(len(tokens) - 1)
            answering.append(sequence)
    decoding = [sequence for sequence, new in step if new == 1]
    return Batch(
        sequences=step,
        tokens=torch.tensor(tokens),
        positions=torch.tensor(positions),
        slot_mapping=torch.tensor(slots),
        decode=_decode(decoding, block_size) if decoding else None,
        chunks=chunks,
        answers=torch.tensor(answers, dtype=torch.int64),
        answering=answering,
    )


def _decode(sequences: list[Sequence], block_size: int) -> Decode:
    blocks: list[int] = []
    owner: list[int] = []
    held: list[int] = []  # keys in each pair's block
    for row, sequence in enumerate(sequences):
        length = sequence.computed + 1
        blocks += sequence.block_table
        owner += [row] * len(sequence.block_table)
        held += [min(block_size, length - start) for start in range(0, length, block_size)]
    beyond = torch.arange(block_size) >= torch.tensor(held)[:, None]
    hidden = torch.zeros(beyond.shape).masked_fill(beyond, -torch.inf)[:, None]
    return Decode(len(sequences), torch.tensor(blocks), torch.tensor(owner), hidden)
