"""The first notebook's drawings: to scale, and their titles state what was passed in."""

import matplotlib.pyplot as plt
import pytest
from matplotlib.patches import FancyBboxPatch, Rectangle

from fridge import pictures

pytestmark = pytest.mark.usefixtures("no_window")


def test_elephants_and_fridge_are_to_scale() -> None:
    """Guards against a drawing that shows another ratio than its title, as sides instead of areas do."""
    pictures.elephants_and_fridge({"large": 144.0, "small": 36.0}, "card", 16.0)
    ax = plt.gca()
    assert ax.get_title(loc="left") == "The elephant is 9.0 times as large as the fridge"
    boxes = [patch for patch in ax.patches if isinstance(patch, Rectangle) and patch.get_linestyle() == "--"]
    assert [box.get_width() * box.get_height() for box in boxes] == pytest.approx([144, 36])
    (fridge,) = [patch for patch in ax.patches if isinstance(patch, FancyBboxPatch)]
    assert fridge.get_width() * fridge.get_height() == pytest.approx(16)
    assert ax.get_aspect() == 1
    assert [text.get_text() for text in ax.texts] == ["large\n144 GB", "small\n36 GB", "card\n16 GB"]
    edges = ax.get_xlim()
    assert edges[0] < 0
    assert edges[1] > fridge.get_x() + fridge.get_width(), "the fridge is cut off"


def test_answers_by_turn() -> None:
    """Guards against factors of other turns than the first and the last, and against a title that claims more than
    was measured: the tokens read are a count, the seconds are what they were."""
    pictures.answers_by_turn([360, 770, 1190], [2.0, 9.0, 5.0])
    ax = plt.gca()
    title = "The last answer reads 3.3 times the tokens of the first and takes 2.5 times as long"
    assert ax.get_title(loc="left").replace("\n", " ") == title
    assert [bar.get_height() for bar in ax.patches] == [2, 9, 5]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1\n360", "2\n770", "3\n1,190"]
