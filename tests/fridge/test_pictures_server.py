"""Unit 09's pictures of measurements: what failed stays away from the curves, and nothing found is no line."""

import math

import matplotlib.pyplot as plt
import pytest

from fridge import pictures

pytestmark = pytest.mark.usefixtures("no_window")


def test_who_never_got_a_token_keeps_the_curve_below_all() -> None:
    """Guards against failures that count as served: shares are of all requests."""
    pictures.waits({"one": [2.0, math.inf, 1.0, math.inf]}, "a title")
    (line,) = plt.gca().get_lines()
    assert list(line.get_xdata()) == [0.0, 1.0, 2.0]
    assert list(line.get_ydata()) == [0.0, 25.0, 50.0]


@pytest.mark.parametrize(("found", "words"), [(2.5, ["found: 2.5"]), (None, [])])
def test_a_rate_that_was_found_has_a_line(found: float | None, words: list[str]) -> None:
    """Guards against an error where no rate keeps the promise."""
    pictures.goodput_over_rate([1, 2, 4], {"goodput": [1.0, 2.0, 0.0]}, found, "a title")
    assert [text.get_text() for text in plt.gca().texts] == words


def test_the_parts_of_a_server_can_be_drawn() -> None:
    """Guards against a drawing that fails where nobody renders it."""
    pictures.server_pipeline()
    assert {"engine", "dispatcher", "reader"} <= {text.get_text() for text in plt.gca().texts}
