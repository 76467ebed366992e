"""Choosing a token: each filter by hand, all of them against transformers' processors, draws by their frequencies."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from fridge.serving.engine.sampling import GREEDY, Sampler, Sampling, distribution, likeliest, log_probabilities

QUARTERS = torch.tensor([0.1, 0.4, 0.25, 0.25]).log()


def chances(sampling: Sampling, logits: torch.Tensor = QUARTERS, tokens: tuple[int, ...] = ()) -> dict[int, float]:
    """Token -> probability."""
    ids, probabilities = distribution(logits.clone(), list(tokens), sampling)
    return dict(zip(ids.tolist(), probabilities.tolist(), strict=True))


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (Sampling(1.0), {0: 0.1, 1: 0.4, 2: 0.25, 3: 0.25}),
        (Sampling(1.0, top_k=1), {1: 1.0}),
        (Sampling(1.0, top_k=2), {1: 0.4 / 0.65, 2: 0.25 / 0.65}),  # of equal ones the first
        (Sampling(1.0, top_k=9), {0: 0.1, 1: 0.4, 2: 0.25, 3: 0.25}),
        (Sampling(1.0, top_p=0.0), {1: 1.0}),
        (Sampling(1.0, top_p=0.39), {1: 1.0}),
        (Sampling(1.0, top_p=0.5), {1: 0.4 / 0.65, 2: 0.25 / 0.65}),
        (Sampling(1.0, top_p=0.95), {0: 0.1, 1: 0.4, 2: 0.25, 3: 0.25}),
        (Sampling(1.0, top_k=3, top_p=0.42), {1: 1.0}),  # 0.4 is 0.444 of what top-k left
        (Sampling(1.0, min_p=0.5), {1: 0.4 / 0.9, 2: 0.25 / 0.9, 3: 0.25 / 0.9}),
        (Sampling(1.0, min_p=1.0), {1: 1.0}),
        (Sampling(0.0, top_k=3, min_p=0.1), {1: 1.0}),
        (Sampling(0.5), {0: 0.01 / 0.295, 1: 0.16 / 0.295, 2: 0.0625 / 0.295, 3: 0.0625 / 0.295}),
        (Sampling(1e-300), {0: 0.0, 1: 1.0, 2: 0.0, 3: 0.0}),
    ],
)
def test_each_filter_by_hand(sampling, expected):
    """Guards against a filter that takes one too many or too few, and against another order of them."""
    found = chances(sampling)
    assert {token: found[token] for token in sorted(found)} == pytest.approx(expected, abs=1e-6)


def test_a_penalty_goes_the_right_way_on_both_sides_of_zero():
    """Guards against a division that makes a negative logit larger, and against counting a token twice."""
    logits = torch.tensor([2.0, 1.0, -1.0, 0.0])
    expected = torch.tensor([1.0, 1.0, -2.0, 0.0]).softmax(0)
    found = chances(Sampling(1.0, repetition_penalty=2.0), logits, (0, 2, 0))
    assert [found[token] for token in range(4)] == pytest.approx(expected.tolist(), abs=1e-6)
    assert chances(Sampling(0.0, repetition_penalty=3.0), logits, (0,)) == {1: 1.0}


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 2**31),
    st.sampled_from([0.3, 1.0, 2.5]),
    st.sampled_from([0, 1, 5, 70, 500]),
    st.sampled_from([0.05, 0.5, 0.9, 0.999, 1.0]),
    st.sampled_from([0.0, 0.02, 0.3]),
    st.sampled_from([1.0, 1.3]),
)
def test_all_together_are_what_transformers_makes_of_them(seed, temperature, top_k, top_p, min_p, penalty):
    """Guards against another order than the one that is promised. The logits are random, so no two are equal."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(300, generator=generator) * 3
    tokens = torch.randint(0, 300, (20,), generator=generator)
    scores = RepetitionPenaltyLogitsProcessor(penalty)(tokens[None], logits[None].double().clone())
    scores = TemperatureLogitsWarper(temperature)(tokens[None], scores)
    if top_k:
        scores = TopKLogitsWarper(top_k)(tokens[None], scores)
    if top_p < 1:
        scores = TopPLogitsWarper(top_p)(tokens[None], scores)
    if min_p:
        scores = MinPLogitsWarper(min_p)(tokens[None], scores)
    expected = scores[0].softmax(0)
    sampling = Sampling(temperature, top_k, top_p, min_p, penalty)
    ids, probabilities = distribution(logits, tokens.tolist(), sampling)
    found = torch.zeros(300, dtype=torch.float64)
    found[ids] = probabilities
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=1e-6)


def test_draws_have_the_frequencies_of_the_distribution():
    """Guards against a draw that favours an end. The seed is fixed: it can't fail by chance."""
    sampler = Sampler(Sampling(1.0, top_k=3, seed=5))
    counts = [0, 0, 0, 0]
    for _ in range(9000):
        counts[sampler(QUARTERS, [])] += 1
    expected = [0, 4000, 2500, 2500]
    assert counts[0] == 0
    assert sum((got - want) ** 2 / want for got, want in zip(counts[1:], expected[1:], strict=True)) < 20


def test_a_nucleus_larger_than_the_first_look():
    """Guards against a nucleus cut off where the search for it began: 1000 equal tokens, of which 90 % are 900."""
    found = chances(Sampling(1.0, top_p=0.9), torch.zeros(1000))
    assert sorted(found) == list(range(900))


def test_the_likeliest_of_equals_are_the_first():
    """Guards against topk's own order, which nobody promises."""
    assert likeliest(torch.tensor([1.0, 3.0, 1.0, 3.0, 2.0, 1.0]), 4).tolist() == [1, 3, 4, 0]
    assert Sampler(GREEDY)(torch.tensor([1.0, 2.0, 2.0]), []) == 1


def test_log_probabilities_of_more_tokens_than_there_are():
    """Guards against an index beyond the vocabulary."""
    own, best = log_probabilities(QUARTERS, 0, 20)
    assert own == pytest.approx(math.log(0.1))
    assert [token for token, _ in best] == [1, 2, 3, 0]
    assert log_probabilities(QUARTERS, 0, 0)[1] == []


@pytest.mark.parametrize(
    "wish",
    [
        {"temperature": -1},
        {"temperature": math.nan},
        {"temperature": math.inf},
        {"top_k": -1},
        {"top_p": 1.1},
        {"top_p": -0.1},
        {"min_p": math.nan},
        {"min_p": 2},
        {"repetition_penalty": 0},
        {"repetition_penalty": math.inf},
        {"logprobs": -1},
    ],
)
def test_wishes_that_cannot_be_met_are_refused(wish):
    """Guards against a request that fails in the middle of a step, and takes the others with it."""
    with pytest.raises(ValueError, match=next(iter(wish))):
        Sampling(**wish)
