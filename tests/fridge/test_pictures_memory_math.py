"""Unit 01's drawings: they draw, and their titles state what was passed in."""

import matplotlib.pyplot as plt
import pytest

from fridge import pictures

pytestmark = pytest.mark.usefixtures("no_window")


def test_drawings_of_ideas() -> None:
    """Guards against a drawing that raises in a learner's notebook."""
    pictures.what_fills_a_card()
    pictures.bits_of_a_group()
    assert len(plt.get_fignums()) == 2
    assert all(plt.figure(number).axes[0].get_title(loc="left") for number in plt.get_fignums())


def test_rule_of_thumb_names_the_worst() -> None:
    """Guards against a title with a number of another model."""
    pictures.where_the_rule_is_off({"small": 0.66, "large": 0.06})
    assert plt.gca().get_title(loc="left").startswith("small needs 66 %")
    assert [bar.get_width() for bar in plt.gca().patches] == [66, 6]


def test_step_compares_the_whole_with_the_bound() -> None:
    """Guards against a title that takes another bar for the measured step."""
    pictures.where_a_step_goes({"bound": 30.0, "products": 40.0, "step": 61.2})
    assert "61 ms where bandwidth allows 30" in plt.gca().get_title(loc="left")
