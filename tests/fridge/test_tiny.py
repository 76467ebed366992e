"""The tiny Llama that graded cells use, and the random numbers beside it."""

import time

import torch

from fridge.models.caches import ConcatCache
from fridge.testing import TINY, randn, tiny_llama

TOKENS = torch.arange(30)[None] % TINY.vocab_size


def test_same_for_a_seed_only() -> None:
    """Guards against tests whose outcome depends on what ran before, and against a seed that is ignored."""
    torch.manual_seed(1)
    one = tiny_llama(3)(TOKENS)
    torch.manual_seed(2)
    assert torch.equal(tiny_llama(3)(TOKENS), one)
    assert (tiny_llama(4)(TOKENS) - one).abs().max() > 0.1
    assert torch.equal(randn(2, 3, seed=5), randn(2, 3, seed=5))
    assert not torch.equal(randn(2, 3, seed=5), randn(2, 3, seed=6))


def test_leaves_the_global_generator_alone() -> None:
    """Guards against a learner's `torch.manual_seed` that counts for nothing once a test makes a model."""
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    tiny_llama()
    randn(4)
    assert torch.equal(torch.rand(3), expected)


def test_made_within_a_second() -> None:
    """Guards against graded notebooks that wait for their test objects. It takes 2 ms, so a busy machine passes."""
    start = time.perf_counter()
    tiny_llama()
    assert time.perf_counter() - start < 1


def test_every_earlier_position_matters_and_no_later_one() -> None:
    """Guards against weights so small, or so few layers, that a learner's lost position goes unseen at 1e-5."""
    model = tiny_llama()
    before = model(TOKENS)
    for position in range(TOKENS.shape[1]):
        changed = TOKENS.clone()
        changed[0, position] += 7
        difference = (model(changed) - before).abs().amax(dim=-1)[0]
        assert (difference[:position] == 0).all()
        assert difference[-1] > 1e-2, position


def test_order_matters() -> None:
    """Guards against rotary angles so small that forgetting positions, or starting them anew, goes unseen."""
    model = tiny_llama()
    swapped = TOKENS.clone()
    swapped[0, :2] = swapped[0, :2].flip(0)
    assert (model(swapped)[:, -1] - model(TOKENS)[:, -1]).abs().max() > 1e-2


def test_cached_equals_uncached() -> None:
    """Guards against a yardstick that is itself wrong."""
    model, cache = tiny_llama(), ConcatCache()
    parts = [model(part, cache) for part in TOKENS.split([11, 1, 13, 5], dim=1)]
    assert (torch.cat(parts, dim=1) - model(TOKENS)).abs().max() < 1e-5
