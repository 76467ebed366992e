"""The one look of the course's figures."""

import io
from itertools import pairwise

import matplotlib.pyplot as plt
import pytest
from matplotlib.colors import to_rgb

from fridge.workbench import plots

pytestmark = pytest.mark.usefixtures("no_window")


def drawn(ax: plt.Axes) -> bytes:
    file = io.BytesIO()
    ax.figure.savefig(file, format="png")
    return file.getvalue()


def lightness(colour: str) -> float:
    """CIE L*, 0 for black to 100 for white, which is what a grey print keeps."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    y = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return 116 * y ** (1 / 3) - 16 if y > 0.008856 else 903.3 * y


@pytest.mark.parametrize(
    "colours",
    [[style["color"] for style in plots.STYLES], [plots.INK, plots.ACCENT, plots.SECOND, plots.PALE, "white"]],
    ids=["lines", "fills"],
)
def test_told_apart_in_grey(colours: list[str]) -> None:
    """Guards against red and blue of the same lightness, which a grey print or a colour-blind reader can't tell
    apart."""
    levels = sorted(map(lightness, colours))
    assert min(b - a for a, b in pairwise(levels)) > 10


def test_lines() -> None:
    """Guards against figures without axis labels, series without a legend, and two that look alike."""
    ax = plots.axes("Time per token grows with the context", "context (tokens)", "time (ms)")
    series = {f"cache {i}": [1.0 * i, 2.0, 3.0] for i in range(4)} | {"stopped early": [5.0]}
    plots.lines(ax, [1, 10, 100], series)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("context (tokens)", "time (ms)")
    assert ax.get_title(loc="left") == "Time per token grows with the context"
    assert [entry.get_text() for entry in ax.get_legend().get_texts()] == list(series)
    looks = [(line.get_color(), line.get_linestyle(), line.get_marker()) for line in ax.lines]
    assert len(set(looks)) == 4
    assert looks[4] == looks[0]
    assert list(ax.lines[4].get_xdata()) == [1]
    assert ax.figure.get_facecolor() == (1, 1, 1, 1)
    assert len(drawn(ax)) > 5000


@pytest.mark.parametrize("inches", [7.2, 8.4])
def test_long_titles_are_broken(inches: float) -> None:
    """Guards against a finding that is cut off at the figure's edge, as by many digits; breaks of their own stay."""
    ax = plots.axes(
        "The last answer reads 10.2 times the tokens of the first\nand takes 10.6 times as long " * 2, size=(inches, 3)
    )
    ax.figure.canvas.draw()
    assert "first\nand" in ax.get_title(loc="left")
    assert ax.get_tightbbox().x1 < ax.figure.bbox.x1


def test_diagram() -> None:
    """Guards against ticks around a drawing, and cells that are not drawn, or drawn elsewhere."""
    ax = plots.diagram("Four slots to a page")
    empty = drawn(ax)
    plots.cell(ax, 2, 1, "k₃", fill=plots.PALE)
    (square,) = ax.patches
    assert (square.get_xy(), square.get_width(), square.get_height()) == ((2, 1), 1, 1)
    (words,) = ax.texts
    assert (words.get_text(), words.get_position()) == ("k₃", (2.5, 1.5))
    assert not ax.axison
    ax.set(xlim=(0, 4), ylim=(0, 3))
    assert drawn(ax) != empty
