"""Unit 07: how good each way to round is, by what shares a grid, with what chance leaves open."""

from typing import Any

import matplotlib.pyplot as plt
from matplotlib.ticker import NullLocator

from fridge.workbench import plots


def by_grouping(record: dict[str, Any], title: str) -> None:
    """Perplexity over the grouping, a panel for each width, a curve for each way, bars of 95 %.

    Args:
        record: as `fridge.quantization.quality.kept` has it.
        title: states the finding.
    """
    bits = sorted({row["bits"] for row in record["rows"]}, reverse=True)
    groups = sorted({row["group_size"] or 0 for row in record["rows"]}, key=lambda size: -size or -10_000)
    look = {"dpi": 110, "facecolor": "white", "layout": "constrained"}
    figure, panels = plt.subplots(1, len(bits), figsize=(4.4 * len(bits), 3.9), squeeze=False, **look)
    for ax, width in zip(panels[0], bits, strict=True):
        rows = [row for row in record["rows"] if row["bits"] == width]
        ways = list(dict.fromkeys(row["way"] for row in rows if "," not in row["way"]))
        for place, (way, style) in enumerate(zip(ways, plots.STYLES, strict=False)):
            own = sorted(
                (row for row in rows if row["way"] == way), key=lambda row: groups.index(row["group_size"] or 0)
            )
            x = [groups.index(row["group_size"] or 0) + 0.07 * (place - 1.5) for row in own]
            _curve(ax, x, own, way, style)
        ax.axhline(record["float"]["value"], color=plots.INK, linewidth=0.9, linestyle=(0, (1, 3)))
        ax.set_title(f"{width} bits", loc="left", fontsize=9.5, fontweight="bold")
        ax.set_xticks(
            range(len(groups)), [f"groups of {size}" if size else "a grid a row" for size in groups], fontsize=8
        )
        _logarithmic(ax)
    panels[0, 0].set_ylabel("perplexity (lower is better)")
    panels[0, -1].legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")


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


def _curve(ax: plt.Axes, x: list[float], rows: list[dict[str, Any]], way: str, style: dict[str, str]) -> None:
    found = [row["perplexity"] for row in rows]
    values = [one["value"] for one in found]
    errors = [[one["value"] - one["low"] for one in found], [one["high"] - one["value"] for one in found]]
    ax.errorbar(x, values, errors, label=way, markersize=5, linewidth=1.4, elinewidth=1.0, capsize=2, **style)


def _logarithmic(ax: plt.Axes) -> None:
    ax.set_yscale("log")
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", color=plots.PALE, linewidth=0.8)
    ax.set_axisbelow(True)
    _plain_ticks(ax.yaxis, ax.get_ylim())


def _plain_ticks(axis: Any, limits: tuple[float, float]) -> None:
    ticks = [base * 10**power for power in range(7) for base in (1, 2, 5)]
    inside = [tick for tick in ticks if limits[0] <= tick <= limits[1]]
    axis.set_major_locator(plt.FixedLocator(inside))
    axis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axis.set_minor_locator(NullLocator())
