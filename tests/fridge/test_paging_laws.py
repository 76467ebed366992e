"""Laws of unit 04's parts put together, as the master has them, for any load that hypothesis can think of."""

import random
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import jupytext
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fridge.serving import loop
from fridge.serving.paging import KVPool, PagedRunner, prefill
from fridge.serving.traces import Request
from fridge.testing import tiny_llama

MASTER = Path(__file__).parents[2] / "solutions/04-paged-attention/paged_attention.py"
FEW = settings(max_examples=25, deadline=None, derandomize=True)

requests = st.lists(
    st.builds(
        Request,
        prompt=st.lists(st.integers(0, 63), min_size=1, max_size=9),
        output=st.integers(1, 7),
    ),
    min_size=1,
    max_size=7,
)


@cache
def master() -> SimpleNamespace:
    """The master's answers, by name."""
    names: dict = {"torch": torch}
    for cell in jupytext.read(MASTER).cells:
        if cell.metadata.get("nbgrader", {}).get("solution"):
            exec(cell.source, names)
    return SimpleNamespace(**names)


@cache
def model():
    return tiny_llama(seed=2)


def alone(request: Request) -> list[int]:
    """The reply when nobody else is there and nothing is kept; None where the two best tokens are too near."""
    tokens = list(request.prompt)
    for _ in range(request.output):
        logits = model()(torch.tensor([tokens]))[0, -1]
        best = logits.topk(2).values
        if best[0] - best[1] < 1e-3:
            return []
        tokens.append(int(logits.argmax()))
    return tokens[len(request.prompt) :]


@FEW
@given(
    load=requests,
    block_size=st.integers(1, 5),
    spare=st.integers(0, 12),
    budget=st.integers(1, 20),
    places=st.integers(1, 6),
)
def test_serving_laws(load: list[Request], block_size: int, spare: int, budget: int, places: int) -> None:
    """No block leaks or has two owners, everyone ends, and no reply depends on who else was in the batch."""
    parts = master()
    needed = max(-(-(len(r.prompt) + r.output - 1) // block_size) for r in load)
    num_blocks = needed + spare
    allocator = parts.BlockAllocator(num_blocks, block_size)
    pool = KVPool.for_model(model(), num_blocks, block_size)
    cache = parts.PagedKVCache(pool, allocator)
    scheduler = parts.Scheduler(num_blocks, block_size, budget, places)

    def watch(step: loop.Step) -> None:
        tables = [cache.block_table(name) for name in scheduler.running]
        owned = [block for table in tables for block in table]
        assert len(owned) == len(set(owned)), "a block has two owners"
        assert all(allocator.ref_count(block) == 1 for block in owned)
        assert allocator.num_free == num_blocks - len(owned), "a block has leaked"
        assert len(scheduler.running) <= places
        assert sum(step.computed.values()) <= budget

    run = loop.serve(scheduler, load, places, cache, PagedRunner(model(), pool, parts.paged_attention), watch=watch)
    assert allocator.num_free == num_blocks
    assert len(cache) == 0
    for index, request in enumerate(load):
        expected = alone(request)
        if expected:
            assert run.replies[f"r{index}"].tokens == expected


@FEW
@given(seed=st.integers(0, 10_000), block_size=st.integers(1, 4), num_blocks=st.integers(4, 14))
def test_forks_never_see_one_another(seed: int, block_size: int, num_blocks: int) -> None:
    """Whatever is forked, written and freed, each sequence reads what it wrote, and a refusal changes nothing."""
    parts, draw = master(), random.Random(seed)
    allocator = parts.BlockAllocator(num_blocks, block_size)
    pool = KVPool(1, num_blocks, block_size, 1, 1)
    tables: dict[int, list[int]] = {0: []}
    written: dict[int, list[float]] = {0: []}
    for step in range(60):
        name = draw.choice(list(tables))
        action = draw.choice(["write", "write", "write", "rewrite", "fork", "free"])
        before = [allocator.ref_count(block) for block in range(num_blocks)]
        try:
            if action == "fork" and len(tables) < 6:
                tables[step + 1] = parts.fork(tables[name], allocator)
                written[step + 1] = list(written[name])
            elif action == "free" and len(tables) > 1:
                allocator.free(tables.pop(name))
                del written[name]
            elif action in ("write", "rewrite"):
                end = len(written[name])
                place = end if action == "write" else draw.randrange(end + 1)
                if place == end and allocator.blocks_for(end + 1) > len(tables[name]):
                    tables[name] = tables[name] + allocator.allocate(1)
                tables[name] = parts.make_writable(tables[name], place, place + 1, allocator, pool)
                slot = tables[name][place // block_size] * block_size + place % block_size
                pool.write(0, [slot], torch.full((1, 1, 1), float(step)), torch.full((1, 1, 1), -float(step)))
                written[name][place : place + 1] = [float(step)]
        except ValueError:
            assert [allocator.ref_count(block) for block in range(num_blocks)] == before
        for own, table in tables.items():
            slots = [table[p // block_size] * block_size + p % block_size for p in range(len(written[own]))]
            assert pool.read(0, slots)[0].flatten().tolist() == written[own]
    for table in tables.values():
        allocator.free(table)
    assert allocator.num_free == num_blocks


@FEW
@given(
    prompts=st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=12), min_size=1, max_size=10),
    block_size=st.integers(1, 4),
)
def test_a_prefix_cache_changes_no_logits(prompts: list[list[int]], block_size: int) -> None:
    """What is found instead of computed is what would have been computed, also after evictions; nothing leaks."""
    parts = master()
    num_blocks = 2 * -(-12 // block_size)
    allocator = parts.BlockAllocator(num_blocks, block_size)
    runner = PagedRunner(model(), KVPool.for_model(model(), num_blocks, block_size), parts.paged_attention)
    prefixes = parts.PrefixCache(allocator)
    for tokens in prompts:
        short = allocator.blocks_for(len(tokens)) - allocator.num_free
        if short > 0:
            assert prefixes.evict(short) == short
        logits, table, computed = prefill(runner, allocator, tokens, prefixes)
        assert 1 <= computed <= len(tokens)
        assert torch.allclose(logits, model()(torch.tensor([tokens]))[0, -1], atol=1e-3)
        allocator.free(table)
    prefixes.evict(num_blocks)
    assert (allocator.num_free, len(prefixes)) == (num_blocks, 0)
