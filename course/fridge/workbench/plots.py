"""One look for every figure of the course: a title that states the finding, units on the axes, readable in grey."""

from itertools import cycle
from textwrap import fill

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from fridge.workbench import busy

# Colours whose lightness (CIE L*) is 9, 38, 58 and 75, so that grey print keeps them apart; each with a line style and
# a marker of its own.
STYLES = (
    {"color": "#b2182b", "linestyle": "-", "marker": "o"},
    {"color": "#4393c3", "linestyle": "--", "marker": "s"},
    {"color": "#f4a582", "linestyle": "-.", "marker": "^"},
    {"color": "#1a1a1a", "linestyle": ":", "marker": "D"},
)
_LARGE, _SMALL = 10, 16  # letters to an inch of a title, and of the words beneath a figure
INK, ACCENT, SECOND, PALE = "#1a1a1a", "#b2182b", "#4393c3", "#e0e0e0"


def axes(title: str, xlabel: str = "", ylabel: str = "", size: tuple[float, float] = (7.2, 3.8)) -> Axes:
    """New axes in the course's look, on a white ground so that dark themes show them too."""
    _, ax = plt.subplots(figsize=size, dpi=110, facecolor="white", layout="constrained")
    broken = [fill(line, int(_LARGE * size[0])) for line in title.splitlines()]
    ax.set_title("\n".join(broken), loc="left", fontsize=11, fontweight="bold")
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", color=PALE, linewidth=0.8)
    ax.set_axisbelow(True)
    return ax


def lines(ax: Axes, x: list[float], series: dict[str, list[float]]) -> None:
    """Draw each named series over x, with a legend."""
    for (label, y), style in zip(series.items(), cycle(STYLES), strict=False):
        ax.plot(x[: len(y)], y, label=label, markersize=5, linewidth=1.8, **style)
    ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))  # beside the curves, never on them


def timed(ax: Axes) -> None:
    """Say beneath a figure of measured times if something else used the processors meanwhile; call it once, at last."""
    note, figure = busy.note(), ax.figure
    busy.said()
    if note:
        width = int(_SMALL * figure.get_figwidth())
        figure.supxlabel(fill("! " + note, width), x=0.01, ha="left", fontsize=8.5, color=ACCENT)


def diagram(title: str, size: tuple[float, float] = (7.2, 3.0)) -> Axes:
    """Axes for a drawing: no ticks, no frame."""
    ax = axes(title, size=size)
    ax.axis("off")
    return ax


def cell(ax: Axes, x: float, y: float, text: str = "", fill: str = "white", ink: str = INK) -> None:
    """A unit square with its lower left corner at (x, y), for drawing memory."""
    ax.add_patch(plt.Rectangle((x, y), 1, 1, facecolor=fill, edgecolor=INK, linewidth=0.8))
    ax.text(x + 0.5, y + 0.5, text, ha="center", va="center", fontsize=8, color=ink)
