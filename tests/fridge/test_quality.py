"""Perplexity with its range, and the second text that nothing was fitted to."""

import math

import pytest
import torch

from fridge.quantization import quality
from fridge.workbench import text


def says(probability):
    """A model of three tokens that gives the token after each the same probability, whatever it reads."""

    def model(ids):
        rest = (1 - probability) / 2
        logits = torch.full((*ids.shape, 3), math.log(rest))
        follows = ids.roll(-1, 1)[..., None]
        return logits.scatter(-1, follows, math.log(probability))

    return model


TOKENS = torch.arange(40) % 3


def test_a_perplexity_is_one_over_the_probability():
    """All tokens of whole windows count but each window's first, and what is left behind the last doesn't."""
    lost = quality.losses(says(0.25), TOKENS, window=12)
    assert lost.shape == (3, 11)
    found = quality.perplexity(lost)
    assert found.value == pytest.approx(4)
    assert found.low == pytest.approx(4)
    assert found.high == pytest.approx(4)


def test_the_range_holds_the_truth_as_often_as_it_says():
    """Guards against a standard error of tokens, which a window's common luck makes far too small."""
    generator = torch.Generator().manual_seed(0)
    inside, times = 0, 400
    for _ in range(times):
        luck = 0.3 * torch.randn(32, 1, generator=generator)
        found = quality.perplexity(1.0 + luck + 0.1 * torch.randn(32, 50, generator=generator))
        inside += found.low <= math.e <= found.high
    assert 0.9 < inside / times < 0.98


def test_a_ratio_takes_the_texts_luck_away():
    luck = torch.randn(32, 1, generator=torch.Generator().manual_seed(0)).expand(32, 50)
    found = quality.ratio(luck + 0.7, luck)
    assert found.value == pytest.approx(math.exp(0.7))
    assert found.high - found.low < 1e-3


def test_one_window_says_nothing_of_chance():
    assert quality.perplexity(torch.ones(1, 50)).high > 1e300


def test_the_two_texts_have_nothing_in_common():
    """What was calibrated on one is measured on the other."""
    docstrings, prose = text.docstrings(100_000), text.prose()
    assert len(docstrings) == 100_000
    pieces = [docstrings[start : start + 200] for start in range(0, 100_000, 200)]
    assert sum(piece in prose for piece in pieces) == 0
