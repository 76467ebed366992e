"""The serving engine: its laws by property tests on a tiny Llama, its answers against plain greedy decoding."""

import random

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fridge.serving.engine import BlockAllocator, Engine, OutOfBlocks, QueueFull, Sampling, Scheduler, Sequence
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


def assert_counts(engine: Engine) -> None:
    """Each block has as many owners as block tables name it."""
    owned = [block for sequence in engine.scheduler.running for block in sequence.block_table]
    allocator = engine.scheduler.allocator
    assert allocator.ref_count == [owned.count(block) for block in range(allocator.num_blocks)]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(crowds(), st.lists(st.tuples(st.integers(0, 20), st.integers(0, 6)), max_size=6))
def test_every_reply_is_what_it_is_alone_and_no_block_is_lost(crowd, cancels):
    """Guards against keys of a neighbour, of a former owner or of a wrong prefix, and against blocks that leak.

    The cache is small, so sequences are preempted, prompts cut into chunks and shared blocks evicted. Between steps
    somebody cancels requests: waiting, running, preempted, ended, or not there yet.
    """
    requests, num_blocks, block_size, sequences, budget = crowd
    engine = Engine(MODEL, num_blocks, block_size, sequences, budget)
    for prompt, new in requests:
        engine.add(prompt, new, STOP)
    replies, gone = {number: [] for number in range(len(requests))}, set()
    for number in range(2000):
        for request in (request for when, request in cancels if when == number):
            if engine.cancel(request):
                gone.add(request)
            assert not engine.cancel(request), "twice is harmless"
            assert_counts(engine)
        for output in engine.step():
            assert output.request not in gone
            if output.finish != "stop":
                replies[output.request].append(output.token)
        assert_counts(engine)
        if not engine.busy:
            break
    for request, reply in replies.items():
        alone = greedy(*requests[request])
        assert reply == (alone[: len(reply)] if request in gone else alone)
    assert engine.scheduler.allocator.num_free == num_blocks
    assert engine.step() == [], "nobody is left"


def test_tokens_come_one_by_one_and_the_last_says_why():
    """Guards against replies that come in one piece, and against a stop token that looks like a part of the reply."""
    engine = Engine(MODEL)
    alone = greedy([3, 4, 5], 12)
    engine.add([3, 4, 5], 12, stop_token=alone[4])
    engine.add([3, 4, 5], 3)
    outputs = [output for _ in range(12) for output in engine.step()]
    first = alone.index(alone[4])
    assert [(one.token, one.finish) for one in outputs if one.request == 0] == [
        *[(token, None) for token in alone[:first]],
        (alone[4], "stop"),
    ]
    assert [(one.token, one.finish) for one in outputs if one.request == 1] == [
        (alone[0], None),
        (alone[1], None),
        (alone[2], "length"),
    ]


def test_a_cancelled_request_gives_its_blocks_back_at_once():
    """Guards against a reader who has gone and still holds memory: the next in the queue runs in the same step."""
    engine = Engine(MODEL, num_blocks=4, block_size=4, max_sequences=4, token_budget=16)
    holder = engine.add([1] * 12, 5)
    engine.step()
    waiting = engine.add([2] * 12, 5)
    assert [output.request for output in engine.step()] == [holder]
    assert engine.cancel(holder)
    assert engine.scheduler.allocator.num_free == 4
    assert [output.request for output in engine.step()] == [waiting]
    assert engine.cancel(waiting)
    assert not engine.cancel(waiting)
    assert not engine.cancel(99)
    assert not engine.busy


def test_a_full_queue_says_so():
    """Guards against a queue that grows for ever, and against one that forgets that somebody has left."""
    engine = Engine(MODEL, max_sequences=1, max_waiting=2)
    first, second = (engine.add([number], 2) for number in (1, 2))
    with pytest.raises(QueueFull, match="2 requests wait"):
        engine.add([3], 2)
    engine.step()  # the first runs
    engine.add([3], 2)
    with pytest.raises(QueueFull):
        engine.add([4], 2)
    engine.cancel(second)
    engine.add([4], 2)
    assert {finished.request for finished in engine.run()} == {first, 2, 3}


def test_a_seed_means_the_same_tokens_in_any_company():
    """Guards against one source of random numbers for all, whose order depends on who else is there.

    It can't fail by chance: prompts and seeds are fixed, and the tiny model's draws are far from the edges that a
    batch's other order of sums moves.
    """
    wish = Sampling(temperature=1.5, top_p=0.95, seed=11)

    def reply(before: int, behind: int, num_blocks: int) -> list[int]:
        engine = Engine(MODEL, num_blocks, 4, max_sequences=8, token_budget=24)
        for number in range(before):
            engine.add([number + 1] * 5, 9, sampling=Sampling(temperature=1.0, seed=number))
        mine = engine.add([9, 8, 7], 16, sampling=wish)
        for number in range(behind):
            engine.add([number + 20] * 6, 12)
        return next(finished.tokens for finished in engine.run() if finished.request == mine)

    alone = reply(0, 0, 64)
    assert len(set(alone)) > 4
    assert reply(3, 2, 64) == reply(0, 5, 7) == alone, "also when it has to leave and start over"
    engine = Engine(MODEL)
    numbers = [engine.add([9, 8, 7], 16, sampling=Sampling(temperature=1.5, seed=seed)) for seed in (None, None, 11)]
    replies = {finished.request: finished.tokens for finished in engine.run()}
    assert len({tuple(replies[number]) for number in numbers}) == 3, "without a seed, other tokens each time"


def test_log_probabilities_are_the_models_own():
    """Guards against log-probabilities of what temperature and filters left."""
    engine = Engine(MODEL)
    engine.add([5, 6], 3, sampling=Sampling(temperature=2.0, top_k=1, logprobs=4))
    engine.add([5, 6], 3)
    outputs = [output for _ in range(3) for output in engine.step()]
    [first, *_] = [one for one in outputs if one.request == 0]
    expected = MODEL(torch.tensor([[5, 6]]), ConcatCache())[0, -1].log_softmax(0)
    values, ids = expected.topk(4)
    assert [token for token, _ in first.likeliest] == ids.tolist()
    assert [value for _, value in first.likeliest] == pytest.approx(values.tolist(), abs=1e-4)
    assert first.logprob == pytest.approx(float(expected[first.token]), abs=1e-4)
    assert {(one.logprob, len(one.likeliest)) for one in outputs if one.request == 1} == {(None, 0)}


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
