"""Unit 02: who shares a ruler, and where the levels of a code book lie."""

import torch
from matplotlib.axes import Axes
from torch import Tensor

from fridge.workbench import plots

ROWS, COLUMNS, GROUP = 8, 16, 8
OUTLIER = (2, 5)  # row, column


def rulers() -> None:
    """Draw a small weight matrix with one outlier three times: a ruler a tensor, a row, a group."""
    title = "One outlier spoils the ruler of all who share it: 128 weights, 16, or 8"
    ax = plots.diagram(title, size=(9.6, 3.0))
    kinds = {
        "one ruler for the tensor": lambda row, column: True,
        "a ruler a row": lambda row, column: row == OUTLIER[0],
        f"a ruler a group of {GROUP}": lambda row, column: row == OUTLIER[0] and column < GROUP,
    }
    for index, (label, spoilt) in enumerate(kinds.items()):
        left = index * (COLUMNS + 3)
        ax.text(left, ROWS + 0.5, label, fontsize=9)
        for row in range(ROWS):
            for column in range(COLUMNS):
                _weight(ax, left + column, ROWS - 1 - row, (row, column) == OUTLIER, spoilt(row, column))
        if index:
            _frames(ax, left, COLUMNS if index == 1 else GROUP)
    ax.set(xlim=(-0.5, 3 * COLUMNS + 7), ylim=(-0.4, ROWS + 1.6), aspect="equal")


def levels_on_weights(scaled: Tensor, code_books: dict[str, Tensor]) -> None:
    """A histogram of weights divided by their block's absmax, and each code book's levels below it.

    Args:
        scaled: numbers from -1 to 1, any shape.
        code_books: name -> ascending levels from -1 to 1.
    """
    ax = plots.axes(
        "NF4 has its levels where the weights are",
        "weight / absmax of its block of 64",
        "share of the weights",
        size=(8.4, 4.2),
    )
    counts = torch.histc(scaled.float(), bins=101, min=-1, max=1)
    shares = counts / counts.sum()
    top = float(shares.max())
    ax.bar(torch.linspace(-1, 1, 101), shares, width=2 / 100, color=plots.PALE, edgecolor=plots.PALE)
    for index, ((name, levels), style) in enumerate(zip(code_books.items(), plots.STYLES, strict=False)):
        y = -top * (0.08 + 0.1 * index)
        ax.plot(levels, torch.full_like(levels, y), linestyle="none", marker="|", markersize=13, color=style["color"])
        ax.text(1.06, y, name, va="center", fontsize=9, color=style["color"])
    ax.set(xlim=(-1.04, 1.04), ylim=(-top * (0.04 + 0.1 * len(code_books)), top * 1.05))
    ax.set_yticks([tick for tick in ax.get_yticks() if 0 <= tick <= top])


def sizes_and_perplexities(title: str, rows: dict[str, tuple[float, float]]) -> None:
    """A dot for each format's perplexity, on a logarithmic axis, in the order given; the size stands beside the name.

    Args:
        title: states the finding.
        rows: name -> (megabytes, perplexity); the first is what the others are compared with.
    """
    ax = plots.axes(title, "perplexity (lower is better)", size=(8.0, 0.9 + 0.32 * len(rows)))
    names = [f"{name} · {size:.0f} MB" for name, (size, _) in rows.items()][::-1]
    values = [value for _, value in rows.values()][::-1]
    ax.hlines(names, values[-1], values, color="#777777", linewidth=1.2)
    ax.plot(values, names, linestyle="none", marker="o", color=plots.ACCENT, markersize=7)
    ax.axvline(values[-1], color=plots.INK, linewidth=0.9, linestyle=":")
    for name, value in zip(names, values, strict=True):
        ax.annotate(
            f"{value:,.{1 if value < 1000 else 0}f}",
            (value, name),
            (7, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    ax.set_xscale("log")
    ax.set_xlim(values[-1] / 1.3, max(values) * 2)
    ax.grid(axis="y", visible=False)


def _weight(ax: Axes, x: float, y: float, outlier: bool, spoilt: bool) -> None:
    fill = plots.ACCENT if outlier else "#f4a582" if spoilt else "white"
    plots.cell(ax, x, y, "", fill)


def _frames(ax: Axes, left: float, width: int) -> None:
    from matplotlib.patches import Rectangle

    for row in range(ROWS):
        for start in range(0, COLUMNS, width):
            ax.add_patch(Rectangle((left + start, row), width, 1, fill=False, edgecolor=plots.INK, linewidth=2.2))
