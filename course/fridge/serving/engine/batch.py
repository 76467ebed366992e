"""One step of many sequences as a few flat tensors: tokens side by side, no padding.

A sequence with one new token is *decoding*, one with more is *prefilling*. The tensors are made once a step and used
in each layer. vLLM's attention metadata holds the same.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from fridge.serving.engine.scheduler import Sequence

MAX_PADDING = 8  # blocks; reading a few in vain is cheaper than the operations of one more group


@dataclass(frozen=True)
class Group:
    """Sequences that attend in one operation: a row each, with as many new tokens, and of about the same length.

    Attributes:
        start, end: where their rows * new tokens stand in the batch.
        tables: [rows, width], their block tables; the shorter ones repeat their last block.
        hidden: [rows, 1, new, width * block_size], 0 where a token sees a slot and -inf where it doesn't.
    """

    start: int
    end: int
    tables: Tensor
    hidden: Tensor


@dataclass(frozen=True)
class Batch:
    """A step.

    Attributes:
        sequences: with the number of new tokens of each.
        tokens, positions, slot_mapping: [tokens].
        groups: in the order of their tokens.
        answers: [answers], the tokens whose logits choose a next token; `answering` are their sequences.
    """

    sequences: list[tuple[Sequence, int]]
    tokens: Tensor
    positions: Tensor
    slot_mapping: Tensor
    groups: list[Group]
    answers: Tensor
    answering: list[Sequence]


def make_batch(step: list[tuple[Sequence, int]], block_size: int) -> Batch:
    """The tensors of a scheduled step; the blocks for its tokens are in the sequences' tables already."""
    step = sorted(step, key=lambda item: (item[1], -len(item[0].block_table)))
    tokens: list[int] = []
    positions: list[int] = []
    slots: list[int] = []
    answers: list[int] = []
    answering: list[Sequence] = []
    for sequence, new in step:
        start, end = sequence.computed, sequence.computed + new
        tokens += sequence.tokens[start:end]
        positions += range(start, end)
        slots += (sequence.block_table[i // block_size] * block_size + i % block_size for i in range(start, end))
        if end == len(sequence.tokens):
            answers.append(len(tokens) - 1)
            answering.append(sequence)
    where = torch.tensor(positions)
    return Batch(
        sequences=step,
        tokens=torch.tensor(tokens),
        positions=where,
        slot_mapping=torch.tensor(slots),
        groups=_groups(step, where, block_size),
        answers=torch.tensor(answers, dtype=torch.int64),
        answering=answering,
    )


def _groups(step: list[tuple[Sequence, int]], positions: Tensor, block_size: int) -> list[Group]:
    groups, start = [], 0
    while step:
        together = _alike(step)
        end = start + together * step[0][1]
        tables = [sequence.block_table for sequence, _ in step[:together]]
        groups.append(_group(tables, start, positions[start:end], block_size))
        step, start = step[together:], end
    return groups


def _alike(step: list[tuple[Sequence, int]]) -> int:
    # How many of the first sequences go together. The longest comes first and sets the width.
    (longest, first_new), padding = step[0], 0
    for count, (sequence, new) in enumerate(step):
        padding += len(longest.block_table) - len(sequence.block_table)
        if new != first_new or padding > MAX_PADDING:
            return count
    return len(step)


def _group(tables: list[list[int]], start: int, positions: Tensor, block_size: int) -> Group:
    width = len(tables[0])
    padded = [table + table[-1:] * (width - len(table)) for table in tables]
    beyond = torch.arange(width * block_size) > positions.view(len(tables), 1, -1, 1)
    hidden = torch.zeros(beyond.shape).masked_fill_(beyond, -torch.inf)
    return Group(start, start + len(positions), torch.tensor(padded), hidden)
