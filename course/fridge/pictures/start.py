"""The first notebook: an elephant of a model beside the card that it should fit into, areas to scale."""

import math

from matplotlib.axes import Axes
from matplotlib.patches import Circle, Ellipse, FancyBboxPatch, Rectangle

from fridge.workbench import plots

_GREY, _DARK = "#a8a8a8", "#6e6e6e"
_GAP = 2.2  # between boxes, in the root of a gigabyte


def elephants_and_fridge(elephants: dict[str, float], fridge: str, room: float) -> None:
    """Draw each named size in gigabytes as an elephant in a box, then the fridge with its room: areas to scale."""
    largest = max(elephants.values())
    title = f"The elephant is {largest / room:.1f} times as large as the fridge"
    ax = plots.diagram(title, size=(8.4, 4.2))
    left = 0.0
    for name, gigabytes in elephants.items():
        side = gigabytes**0.5
        ax.add_patch(
            Rectangle((left, 0), side, side, facecolor="white", edgecolor=plots.INK, linestyle="--", zorder=0.5)
        )
        _elephant(ax, left, side)
        _label(ax, left + side / 2, name, gigabytes)
        left += side + _GAP
    _fridge(ax, left, room**0.5)
    _label(ax, left + room**0.5 / 2, fridge, room)
    ax.set(xlim=(-0.5, left + room**0.5 + _GAP / 2), ylim=(-2.6, largest**0.5 + 0.4), aspect="equal")


def answers_by_turn(read: list[int], seconds: list[float]) -> None:
    """A bar a turn: the seconds that an answer took, and the tokens that the model read for all of it."""
    ax = plots.axes(
        f"The last answer reads {read[-1] / read[0]:.1f} times the tokens of the first\n"
        f"and takes {seconds[-1] / seconds[0]:.1f} times as long",
        "turn of the conversation, and tokens read for its answer",
        "time for an answer (s)",
    )
    names = [f"{turn}\n{tokens:,}" for turn, tokens in enumerate(read, start=1)]
    bars = ax.bar(names, seconds, color=plots.ACCENT, width=0.6)
    ax.bar_label(bars, [f"{value:.1f} s" for value in seconds], padding=3, fontsize=9)
    ax.margins(y=0.12)
    plots.timed(ax)


def _label(ax: Axes, middle: float, name: str, gigabytes: float) -> None:
    ax.text(middle, -0.35, f"{name}\n{gigabytes:.3g} GB", ha="center", va="top", fontsize=9)


def _elephant(ax: Axes, left: float, side: float) -> None:
    """An elephant that looks to the right, in the square of this side that stands on the ground."""

    def place(x: float, y: float) -> tuple[float, float]:
        return left + x * side, y * side

    def ellipse(x: float, y: float, width: float, height: float, fill: str, angle: float = 0) -> None:
        ax.add_patch(Ellipse(place(x, y), width * side, height * side, angle=angle, facecolor=fill, edgecolor=_DARK))

    for x, fill in ((0.2, _DARK), (0.52, _DARK), (0.12, _GREY), (0.44, _GREY)):  # far legs, near legs
        ax.add_patch(Rectangle(place(x, 0.01), 0.13 * side, 0.42 * side, facecolor=fill, edgecolor=_DARK))
    ellipse(0.38, 0.54, 0.66, 0.5, _GREY)
    ax.plot(*zip(place(0.06, 0.56), place(0.03, 0.42), place(0.05, 0.33), strict=True), color=_DARK, linewidth=1.5)
    trunk = [place(0.87 + 0.06 * math.sin(math.pi * t**0.8), 0.64 - 0.5 * t) for t in (n / 12 for n in range(13))]
    for width, colour in ((0.085, _DARK), (0.07, _GREY)):  # an outline, then what is inside; the head covers its root
        points = width * side * 20
        ax.plot(*zip(*trunk, strict=True), color=colour, linewidth=points, solid_capstyle="round", zorder=0.9)
    ellipse(0.77, 0.66, 0.3, 0.34, _GREY)
    ellipse(0.66, 0.64, 0.2, 0.36, "#c4c4c4", angle=12)
    ax.add_patch(Circle(place(0.84, 0.72), 0.014 * side, facecolor=plots.INK))


def _fridge(ax: Axes, left: float, side: float) -> None:
    box = FancyBboxPatch(
        (left, 0),
        side,
        side,
        boxstyle=f"round,pad=0,rounding_size={side / 12}",
        facecolor="#d6e6f2",
        edgecolor=plots.INK,
    )
    box.set_linewidth(1.6)
    ax.add_patch(box)
    ax.plot((left, left + side), (0.68 * side,) * 2, color=plots.INK, linewidth=1.2)
    for low, high in ((0.4, 0.6), (0.75, 0.88)):  # the doors' handles
        ax.plot((left + 0.15 * side,) * 2, (low * side, high * side), color=plots.INK, linewidth=2.5)
