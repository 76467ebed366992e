"""Unit 07: how good each way to round is, with what chance leaves open."""

from typing import Any

import matplotlib.pyplot as plt
from matplotlib.ticker import NullLocator

from fridge.workbench import plots


def side_by_side(rows: dict[str, dict[str, float]], title: str, best: float) -> None:
    """A dot and its range for each name, on a logarithmic axis.

    Args:
        rows: name -> {"value", "low", "high"} of a perplexity.
        best: the float model's, a dotted line.
    """
    ax = plots.axes(title, "perplexity (lower is better)", size=(8.0, 1.1 + 0.38 * len(rows)))
    for y, found in enumerate(reversed(rows.values())):
        ax.plot([found["low"], found["high"]], [y, y], color="#777777", linewidth=2)
        ax.plot([found["value"]], [y], marker="o", color=plots.ACCENT, markersize=7)
        above = {"xytext": (0, 7), "textcoords": "offset points", "ha": "center", "fontsize": 8}
        ax.annotate(f"{found['value']:.1f}", (found["value"], y), **above)
    ax.set_yticks(range(len(rows)), list(reversed(rows)))
    ax.set_ylim(-0.5, len(rows) - 0.3)
    ax.axvline(best, color=plots.INK, linewidth=0.9, linestyle=":")
    ax.set_xscale("log")
    _plain_ticks(ax.xaxis, ax.get_xlim())


def by_grouping(ways: dict[str, dict[str, dict[str, float]]], title: str, best: float) -> None:
    """A line for each way, over how large the groups are, on a logarithmic axis.

    Args:
        ways: name -> grouping -> {"value", "low", "high"} of a perplexity; the groupings in the order of the axis.
        best: the float model's, a dotted line.
    """
    ax = plots.axes(title, "weights that share a grid", "perplexity (lower is better)", size=(8.0, 4.4))
    places = list(range(len(next(iter(ways.values())))))
    plots.lines(ax, places, {name: [found["value"] for found in row.values()] for name, row in ways.items()})
    for row in ways.values():
        ax.vlines(
            places, *zip(*((found["low"], found["high"]) for found in row.values()), strict=True), color="#777777"
        )
    ax.set_xticks(places, list(next(iter(ways.values()))))
    ax.axhline(best, color=plots.INK, linewidth=0.9, linestyle=":")
    ax.set_yscale("log")
    _plain_ticks(ax.yaxis, ax.get_ylim())


def _plain_ticks(axis: Any, limits: tuple[float, float]) -> None:
    ticks = [base * 10**power for power in range(7) for base in (1, 2, 5)]
    inside = [tick for tick in ticks if limits[0] <= tick <= limits[1]]
    axis.set_major_locator(plt.FixedLocator(inside))
    axis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axis.set_minor_locator(NullLocator())
