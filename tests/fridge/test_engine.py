"""The serving engine: its laws by property tests on a tiny Llama, its answers against plain greedy decoding."""

import random

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fridge.serving.engine import BlockAllocator, Engine, OutOfBlocks, Scheduler, Sequence
from fridge.serving.engine.linears import Int8Linear, PackedLinear
from fridge.testing import ConcatCache, tiny_llama

STOP = 7
MODEL = tiny_llama(seed=3)


def greedy(prompt: list[int], max_new_tokens: int) -> list[int]:
    """What a sequence says when it is alone."""
    cache, feed, reply = ConcatCache(), prompt, []
    while len(reply) < max_new_tokens:
        token = int(MODEL(torch.tensor([feed]), cache)[0, -1].argmax())
        if token == STOP:
            break
        reply.append(token)
        feed = [token]
    return reply


@st.composite
def crowds(draw):
    """Requests, some with a common beginning, for a cache that is barely large enough."""
    block_size = draw(st.sampled_from([1, 2, 3, 4, 8, 16]))
    prefix = draw(st.lists(st.integers(0, 63), max_size=12))
    requests = []
    for _ in range(draw(st.integers(1, 7))):
        own = draw(st.lists(st.integers(0, 63), min_size=1, max_size=8))
        shared = draw(st.integers(0, len(prefix)))
        requests.append((prefix[:shared] + own, draw(st.integers(1, 10))))
    longest = max(len(prompt) + new - 1 for prompt, new in requests)
    num_blocks = -(-longest // block_size) + draw(st.integers(0, 3))
    sequences = draw(st.integers(1, 5))
    return requests, num_blocks, block_size, sequences, sequences + draw(st.integers(0, 12))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(crowds())
def test_every_reply_is_what_it_is_alone_and_no_block_is_lost(crowd):
    """Guards against keys of a neighbour, of a former owner or of a wrong prefix, and against blocks that leak.

    The cache is small, so sequences are preempted, prompts cut into chunks and shared blocks evicted.
    """
    requests, num_blocks, block_size, sequences, budget = crowd
    engine = Engine(MODEL, num_blocks, block_size, sequences, budget)
    for prompt, new in requests:
        engine.add(prompt, new, STOP)
    replies = {}
    for _ in range(2000):
        for finished in engine.step():
            replies[finished.request] = finished.tokens
        owned = [block for sequence in engine.scheduler.running for block in sequence.block_table]
        counts = [owned.count(block) for block in range(num_blocks)]
        assert engine.scheduler.allocator.ref_count == counts
        if len(replies) == len(requests):
            break
    assert [replies.get(number) for number in range(len(requests))] == [greedy(*request) for request in requests]
    assert engine.scheduler.allocator.num_free == num_blocks


def test_a_tight_cache_preempts_and_still_answers():
    """Guards against a property test that never preempts: here two sequences can't both have what they need."""
    engine = Engine(MODEL, num_blocks=6, block_size=4, max_sequences=2, token_budget=16)
    requests = [([1, 2, 3, 4, 5, 6, 8], 14), ([9, 8, 10, 6, 5, 4, 3], 14)]
    for prompt, new in requests:
        engine.add(prompt, new)
    replies = {finished.request: finished.tokens for finished in engine.run()}
    assert engine.scheduler.preemptions > 0
    assert [len(replies[0]), len(replies[1])] == [14, 14]


def test_a_common_prefix_is_computed_once():
    """Guards against prefix caching that is never used: the second request computes its own last tokens alone."""
    engine = Engine(MODEL, num_blocks=16, block_size=4)
    prompt = list(range(10, 23))
    engine.add(prompt, 1)
    list(engine.run())
    engine.add([*prompt[:12], 40], 1)
    [(sequence, new)] = engine.scheduler.schedule()
    assert (sequence.computed, new) == (12, 1)


def test_a_fully_cached_prompt_still_has_a_query():
    """Guards against a prompt of full blocks that is found whole: no query, no logits, no first token."""
    engine = Engine(MODEL, num_blocks=16, block_size=4)
    prompt = list(range(10, 18))
    for _ in range(2):
        engine.add(prompt, 3)
        [finished] = list(engine.run())
        assert finished.tokens == greedy(prompt, 3)


def test_requests_that_can_never_run_are_refused():
    """Guards against a request that waits for ever: longer than the whole cache, empty, or asking for nothing."""
    engine = Engine(MODEL, num_blocks=2, block_size=4)
    for prompt, new in (([1] * 8, 2), ([], 3), ([1], 0)):
        with pytest.raises(ValueError, match=r"tokens don't fit|at least one"):
            engine.add(prompt, new)
    engine.add([1] * 8, 1)  # its last token is never fed
    assert len(next(engine.run()).tokens) == 1


def test_a_budget_below_the_number_of_sequences_is_refused():
    """Guards against sequences that are never computed because those before them use the budget up."""
    with pytest.raises(ValueError, match="budget"):
        Scheduler(BlockAllocator(4), 4, max_sequences=8, token_budget=7)


def test_decoding_goes_on_while_a_long_prompt_is_fed():
    """Guards against a prompt that stops everyone: with a budget of 8, one token a step goes to the one who decodes."""
    scheduler = Scheduler(BlockAllocator(32), 4, max_sequences=4, token_budget=8)
    first, second = Sequence([1, 2], 20), Sequence(list(range(30)), 2)
    scheduler.add(first)
    assert scheduler.schedule() == [(first, 2)]
    scheduler.computed(first, 2)
    first.tokens.append(5)
    scheduler.add(second)
    for expected in (7, 7, 7, 7, 2):
        step = scheduler.schedule()
        assert step == [(first, 1), (second, expected)]
        for sequence, new in step:
            scheduler.computed(sequence, new)
        first.tokens.append(5)


# --- the allocator ---------------------------------------------------------------------------------------------------


def test_an_allocation_that_does_not_fit_changes_nothing():
    """Guards against half an allocation, which nobody would give back."""
    allocator = BlockAllocator(3)
    allocator.allocate(2)
    with pytest.raises(OutOfBlocks):
        allocator.allocate(2)
    assert allocator.num_free == 1


@pytest.mark.parametrize("blocks", [[0, 0], [2], [-1], [3]])
def test_a_double_free_changes_nothing(blocks):
    """Guards against a block that two sequences are given later."""
    allocator = BlockAllocator(3)
    mine = allocator.allocate(2)
    assert mine == [0, 1]
    with pytest.raises(ValueError, match="freed more often"):
        allocator.free([1, *blocks])
    assert allocator.ref_count == [1, 1, 0]


def test_the_content_unused_for_longest_is_evicted_first():
    """Guards against evicting what was used a moment ago, and against finding what is gone."""
    allocator = BlockAllocator(3)
    for block, key in zip(allocator.allocate(3), "abc", strict=True):
        allocator.remember(block, key)
    allocator.free([1])
    allocator.free([0])
    allocator.share(1)
    allocator.free([1])  # used again: now 0 is the older
    assert allocator.allocate(1) == [0]
    assert (allocator.find("a"), allocator.find("b")) == (None, 1)


# --- the products ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "wide", "out"), [(1, 64, 32), (5, 48, 64), (33, 576, 96)])
def test_a_packed_linear_is_a_linear(rows, wide, out):
    """Guards against a transposed or truncated weight."""
    generator = torch.Generator().manual_seed(rows)
    x, weight = (torch.randn(n, wide, generator=generator) for n in (rows, out))
    torch.testing.assert_close(PackedLinear(weight)(x), x @ weight.T, atol=1e-4, rtol=1e-4)


def test_one_huge_row_does_not_cost_the_others_their_precision():
    """Guards against a single scale for all of x: row 0 is ten thousand times larger than the rest."""
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(n, 128, generator=generator) for n in (6, 64))
    x[0] *= 10_000
    expected = x @ weight.T
    error = (Int8Linear(weight)(x) - expected).abs().amax(1) / expected.abs().amax(1)
    assert float(error.max()) < 0.05


def test_a_row_and_a_weight_of_zeros_give_zeros():
    """Guards against 0 / 0."""
    weight = torch.zeros(4, 8)
    weight[0] = 1.0
    out = Int8Linear(weight)(torch.zeros(2, 8))
    assert torch.equal(out, torch.zeros(2, 4))


def test_eight_bits_choose_nearly_the_same_tokens():
    """Guards against scales applied to the wrong side: on a tiny Llama most first choices stay."""
    draw = random.Random(0)
    prompts = [[draw.randrange(64) for _ in range(12)] for _ in range(24)]
    engine = Engine(MODEL, make_linear=Int8Linear)
    for prompt in prompts:
        engine.add(prompt, 1)
    replies = {finished.request: finished.tokens for finished in engine.run()}
    same = sum(replies[number] == greedy(prompt, 1) for number, prompt in enumerate(prompts))
    assert same >= 20
