"""Facts about cards: in the right unit and order of magnitude."""

import pytest

from fridge.memory.cards import CARDS, GIB, Card


@pytest.mark.parametrize("card", CARDS.values(), ids=list(CARDS))
def test_memory_is_near_its_label(card: Card) -> None:
    """Guards against MiB for MB and a digit too many: what the driver shows lies within 7 % below the label in GiB."""
    assert 0.93 <= card.memory / (card.label * GIB) <= 1


@pytest.mark.parametrize("card", CARDS.values(), ids=list(CARDS))
def test_a_corner_between_50_and_400(card: Card) -> None:
    """Guards against GB for bytes and against the doubled figures for sparse matrices: dense float16 operations per
    byte of bandwidth are 76 (RTX 3090) to 295 (H100)."""
    assert 50 < card.flops / card.bandwidth < 400


def test_found_by_its_name() -> None:
    """Guards against a card that is listed under another's name, or without a source."""
    assert all(name == card.name and card.source for name, card in CARDS.items())
