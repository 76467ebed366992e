"""Unit 11: what a bounded memory holds, what it costs, an arena with its boxes, formats that nobody beats."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from torch import Tensor

from fridge.workbench import plots

SPAN = 64  # tokens that a point of a curve is the mean of


def sinks_and_window(text: int = 12, sinks: int = 2, window: int = 4) -> None:
    """Draw a text of which the first and the last tokens are held, and their places."""
    ax = plots.diagram("The first tokens stay, the last ones move along, the rest is forgotten", (8.4, 2.8))
    held = [*range(sinks), *range(text - window, text)]
    for token in range(text):
        fill = plots.ACCENT if token < sinks else plots.SECOND if token in held else "white"
        plots.cell(ax, token, 2.4, str(token), fill, "white" if token < sinks else plots.INK)
        if token not in held:
            ax.plot([token, token + 1], [2.4, 3.4], color=plots.INK, linewidth=0.8)
    ax.text(-0.3, 2.9, "token of the text", fontsize=8, ha="right", va="center")
    for place, token in enumerate(held):
        fill = plots.ACCENT if token < sinks else plots.SECOND
        plots.cell(ax, place, 0.6, str(token), fill, "white" if token < sinks else plots.INK)
        ax.text(place + 0.5, 0.25, str(place), fontsize=8, ha="center", va="center")
    ax.text(-0.3, 1.1, "in memory", fontsize=8, ha="right", va="center")
    ax.text(-0.3, 0.25, "place for RoPE", fontsize=8, ha="right", va="center")
    ax.set(xlim=(-4.2, text + 0.4), ylim=(-0.1, 3.8))


def perplexity_over_length(lost: Mapping[str, Tensor]) -> Axes:
    """Draw the perplexity of each way over the text, as means over `SPAN` tokens."""
    longest = max(map(len, lost.values())) // SPAN
    ax = plots.axes(
        "A window without the first tokens costs much, with them little",
        "token of the text",
        f"perplexity of {SPAN} tokens",
    )
    x = [SPAN * (place + 0.5) for place in range(longest)]
    curves = {
        name: np.exp(each[: longest * SPAN].view(longest, SPAN).mean(1).numpy()).tolist() for name, each in lost.items()
    }
    plots.lines(ax, x, curves)
    ax.set_yscale("log")
    return ax


def arena(ops: Sequence[Mapping[str, Any]], offsets: Mapping[str, int], sizes: Mapping[str, int]) -> Axes:
    """Draw each result as a box: from the operation that makes it to the last of `ops` that reads it, at its offset."""
    ax = plots.axes("Results that are never alive together share bytes", "operation", "offset (kB)", size=(8.4, 3.8))
    last = {op["name"]: step for step, op in enumerate(ops)}
    last |= {part: step for step, op in enumerate(ops) for part in op["of"] if part in last}
    fills = (plots.SECOND, "#f4a582", plots.PALE)
    for step, op in enumerate(ops):
        name = op["name"]
        box = plt.Rectangle(
            (step, offsets[name] / 1e3),
            last[name] - step + 1,
            sizes[name] / 1e3,
            facecolor=fills[step % len(fills)],
            edgecolor=plots.INK,
            linewidth=0.7,
        )
        ax.add_patch(box)
    top = max(offsets[op["name"]] + sizes[op["name"]] for op in ops)
    ax.set(xlim=(0, len(ops)), ylim=(0, top / 1e3 * 1.05))
    return ax


def pareto(candidates: Sequence[Mapping[str, Any]], front: Sequence[str], chosen: str | None) -> Axes:
    """Draw candidates by bytes and quality, those of the Pareto set filled, the chosen one with a ring."""
    ax = plots.axes(
        f"Nobody beats {len(front)} of them; the rule takes {chosen}",
        "bytes of the file (MB)",
        "quality (perplexity as shipped / its own)",
        size=(8.4, 4.2),
    )
    points = {one["name"]: (one["memory"] / 1e6, one["quality"]) for one in candidates}
    for one in candidates:
        x, y = points[one["name"]]
        fill = plots.SECOND if one["name"] in front else "white"
        ax.scatter(x, y, s=1.2 * one["speed"], facecolor=fill, edgecolor=plots.INK, zorder=3)
        if one["name"] == chosen:
            ax.scatter(x, y, s=3.5 * one["speed"], facecolor="none", edgecolor=plots.ACCENT, linewidth=1.8, zorder=4)
        # To the left where another point lies close to the right.
        crowded = any(0 < right - x < 30 and abs(y - other) < 0.03 for right, other in points.values())
        side, to = ("right", -12) if crowded else ("left", 12)
        ax.annotate(one["name"], (x, y), xytext=(to, 0), textcoords="offset points", fontsize=7, ha=side, va="center")
    ax.margins(0.15)
    return ax
