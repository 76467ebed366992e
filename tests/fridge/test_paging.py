"""The pool, the runner for ragged batches, and the objects that unit 04's tests count with."""

import random

import pytest
import torch
from torch import Tensor

from fridge.models.caches import ConcatCache
from fridge.serving.paging import KVPool, PagedRunner, Piece, prefill
from fridge.testing import TINY, CountingPool, SpareAllocator, TightAllocator, Wrong, dense_attention, randn, tiny_llama


def gathered(
    q: Tensor, k_blocks: Tensor, v_blocks: Tensor, tables: list[list[int]], lengths: list[int], new: list[int]
) -> Tensor:
    """Paged attention by the oracle: gather, then dense."""
    outs = []
    for own, table, length in zip(q.split(new), tables, lengths, strict=True):
        k, v = (blocks[table].flatten(0, 1)[:length] for blocks in (k_blocks, v_blocks))
        outs.append(dense_attention(own, k, v).to(q.dtype))
    return torch.cat(outs)


@pytest.fixture
def pool() -> KVPool:
    return KVPool(layers=2, num_blocks=4, block_size=3, kv_heads=2, head_dim=4)


def test_slots_are_blocks_times_block_size_plus_offset(pool: KVPool) -> None:
    """Guards against a flattening in which slot 7 is not the second of block 2."""
    k, v = randn(1, 2, 4, seed=1), randn(1, 2, 4, seed=2)
    pool.write(1, [7], k, v)
    assert torch.equal(pool.k[1, 2, 1], k[0])
    assert torch.equal(pool.v[1, 2, 1], v[0])
    assert not pool.k[0].any()
    assert pool.nbytes == 2 * 2 * 12 * 2 * 4 * 4


def test_a_copied_block_is_copied_in_all_layers(pool: KVPool) -> None:
    """Guards against a copy of the keys alone, or of the first layer."""
    for layer in (0, 1):
        pool.write(layer, [3, 4, 5], randn(3, 2, 4, seed=layer), randn(3, 2, 4, seed=layer + 5))
    pool.copy_block(1, 0)
    assert torch.equal(pool.k[:, 0], pool.k[:, 1])
    assert torch.equal(pool.v[:, 0], pool.v[:, 1])
    assert pool.read(0, [])[0].shape == (0, 2, 4)


@pytest.mark.parametrize("block_size", [1, 3, 16])
def test_a_ragged_batch_gives_the_logits_of_each_sequence_alone(block_size: int) -> None:
    """Guards against positions, slots or last rows of one sequence that are taken from its neighbour."""
    model = tiny_llama(seed=1)
    draw = random.Random(block_size)
    sequences = [[draw.randrange(64) for _ in range(length)] for length in (5, 1, 9)]
    pool = KVPool.for_model(model, 24, block_size)
    allocator = SpareAllocator(24, block_size)
    runner = PagedRunner(model, pool, gathered)
    tables = [allocator.allocate(allocator.blocks_for(len(tokens))) for tokens in sequences]
    cuts = [3, 1, 4]
    first = [Piece(tokens[:cut], 0, table) for tokens, cut, table in zip(sequences, cuts, tables, strict=True)]
    runner.step(first)
    rest = [
        Piece(tokens[cut:], cut, table)
        for tokens, cut, table in zip(sequences, cuts, tables, strict=True)
        if len(tokens) > cut
    ]
    logits = runner.step(rest)
    for row, tokens in zip(logits, [sequences[0], sequences[2]], strict=True):
        assert torch.allclose(row, model(torch.tensor([tokens]))[0, -1], atol=1e-4)


def test_prefill_computes_what_is_not_there() -> None:
    """Guards against a prefix that is matched and computed all the same, or taken for other positions."""

    class Prefixes:
        def __init__(self) -> None:
            self.stored: dict[tuple[int, ...], list[int]] = {}

        def __len__(self) -> int:  # an empty one is False
            return len(self.stored)

        def match(self, tokens: list[int]) -> list[int]:
            found = max((n for n in (0, 4, 8) if tuple(tokens[:n]) in self.stored and n < len(tokens)), default=0)
            return self.stored[tuple(tokens[:found])][: found // 4] if found else []

        def store(self, tokens: list[int], block_table: list[int]) -> None:
            for n in (4, 8):
                self.stored[tuple(tokens[:n])] = block_table

    model = tiny_llama()
    runner, allocator = PagedRunner(model, KVPool.for_model(model, 9, 4), gathered), SpareAllocator(9, 4)
    prefixes, prompt = Prefixes(), [3, 1, 4, 1, 5, 9, 2, 6, 5]
    cold, table, computed = prefill(runner, allocator, prompt, prefixes)
    assert computed == 9
    warm, again, computed = prefill(runner, allocator, prompt, prefixes)
    assert computed == 1
    assert again[:2] == table[:2]
    assert torch.allclose(warm, cold, atol=1e-5)
    cache = ConcatCache()
    assert torch.allclose(cold, model(torch.tensor([prompt]), cache)[0, -1], atol=1e-4)
    assert len(cache) == len(prompt)
    assert TINY.layers == 2


def test_the_counting_pool_counts_and_refuses() -> None:
    """Guards against work that isn't counted, and slots that silently wrap around."""
    pool = CountingPool(2, 3, 4)
    pool.write(0, [1, 2], randn(2, 1, 2), randn(2, 1, 2))
    k, _ = pool.read(0, torch.tensor([1, 2, 3]))
    assert k[2].eq(1e4).all()  # a leftover
    pool.copy_block(0, 2)
    assert (pool.slots_read, pool.blocks_copied) == (3, 1)
    for call in (
        lambda: pool.read(0, [12]),
        lambda: pool.read(0, [-1]),
        lambda: pool.read(0, None),
        lambda: pool.copy_block(1, 3),
        lambda: pool.copy_block(1, 1),
    ):
        with pytest.raises(Wrong):
            call()
    assert not hasattr(pool, "k")  # what the split mode doesn't lend, the other must not either


def test_the_spare_allocator_refuses_what_a_learner_must_not_do() -> None:
    """Guards against a test's allocator that lets a double free pass."""
    allocator = SpareAllocator(4, 2, seed=1)
    taken = allocator.allocate(3)
    assert taken != sorted(taken) or taken[-1] != taken[0] + 2  # no particular order
    allocator.share([taken[0]])
    allocator.free(taken)
    assert allocator.num_free == 3
    assert [allocator.ref_count(block) for block in taken] == [1, 0, 0]
    for call in (
        lambda: allocator.allocate(4),
        lambda: allocator.allocate(-1),
        lambda: allocator.free([taken[1]]),
        lambda: allocator.free([taken[0], taken[0]]),
        lambda: allocator.share([taken[1]]),
        lambda: allocator.free([4]),
    ):
        with pytest.raises(Wrong):
            call()
    assert allocator.num_free == 3
    assert [allocator.blocks_for(tokens) for tokens in (0, 1, 2, 3)] == [0, 1, 1, 2]


def test_the_tight_allocator_refuses_as_a_learners_own_does() -> None:
    """Guards against an exercise that needs a learner's allocator, right or wrong, to run out of blocks."""
    allocator = TightAllocator(4, 2, seed=1)
    allocator.allocate(3)
    with pytest.raises(ValueError, match="2 blocks were asked for; free: 1"):
        allocator.allocate(2)
    assert allocator.num_free == 1
    for odd in (-1, 1.5, "2", None):
        with pytest.raises(Wrong):
            allocator.allocate(odd)
    assert len(allocator.allocate(1)) == 1
