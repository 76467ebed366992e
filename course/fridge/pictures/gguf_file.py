"""Unit 08: how a GGUF file is laid out, and what its formats cost and are worth."""

from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from fridge.workbench import plots

PARTS = (  # name, width on the page, colour, what is in it
    ("head", 0.9, "#4393c3", "magic,\nversion,\ntwo counts"),
    ("metadata", 2.4, "#e0e0e0", "heads = 9,\nlicence,\n49 152 words …"),
    ("table of tensors", 2.4, "#f4a582", "name, dimensions,\nkind, offset"),
    ("", 0.25, "white", ""),
    ("data", 6.0, "#f7f7f7", ""),
)
_TENSOR = (7.5, 2.2)  # where the tensor of the second bar begins in the first, and how long it is


def gguf_file() -> None:
    """Draw the file's parts, a tensor that the table leads to, its rows and a row's blocks."""
    ax = plots.diagram("One file: the head says where each weight lies", size=(8.6, 4.0))
    x = 0.0
    for name, width, color, words in PARTS:
        _box(ax, x, 2.6, width, 0.9, color)
        ax.text(x + width / 2, 3.62, name, ha="center", fontsize=9, fontweight="bold")
        ax.text(x + width / 2, 3.05, words, ha="center", va="center", fontsize=7.5)
        x += width
    start, width = _TENSOR
    ax.plot([start, start, start + width, start + width], [2.6, 3.5, 3.5, 2.6], color=plots.ACCENT, linewidth=1.6)
    bend = {"arrowstyle": "->", "color": plots.ACCENT, "linewidth": 1.6, "connectionstyle": "arc3,rad=-0.35"}
    ax.annotate("", (start, 3.55), (5.5, 3.52), arrowprops=bend)
    ax.text(6.5, 4.0, "offset", ha="center", fontsize=8.5, color=plots.ACCENT)
    ax.text(start + width / 2, 3.05, "one tensor", ha="center", va="center", fontsize=8.5)
    ax.text(10.85, 3.05, "each begins at a\nmultiple of 32 bytes", ha="center", va="center", fontsize=7.5)
    for end, place in ((start, 1.0), (start + width, 11.22)):
        ax.plot([end, place], [2.6, 1.9], color=plots.ACCENT, linewidth=0.8, linestyle=":")
    ax.text(0.85, 1.6, "a row", ha="right", va="center", fontsize=9)
    for block in range(4):
        _block(ax, 1.0 + 2.6 * block, 1.3)
    ax.text(1.0, 0.85, "blocks: a scale d, and 16 bytes with 32 codes of 4 bits", fontsize=8.5)
    ax.set(xlim=(-0.2, 12.2), ylim=(0.6, 4.3))


def _block(ax: Axes, x: float, y: float) -> None:
    _box(ax, x, y, 0.5, 0.6, "#4393c3")
    ax.text(x + 0.25, y + 0.3, "d", ha="center", va="center", fontsize=8, color="white")
    for byte in range(16):
        _box(ax, x + 0.5 + 0.12 * byte, y, 0.12, 0.6, "#f7f7f7" if byte % 2 else "#e0e0e0")


def _box(ax: Axes, x: float, y: float, width: float, height: float, color: str) -> None:
    ax.add_patch(plt.Rectangle((x, y), width, height, facecolor=color, edgecolor=plots.INK, linewidth=0.8))


def perplexity_by_bits(rows: list[dict[str, Any]], title: str) -> None:
    """A dot and its range for each format, over the bits of a weight: how many times the shipped file's perplexity.

    Args:
        rows: of `quantization.formats`. K-quants are round and named below, the others square and named above.
    """
    ax = plots.axes(title, "bits a weight, scales included", "perplexity, times the shipped file’s", size=(8.0, 4.4))
    for row in rows:
        x, found = row["bits"], row["times_shipped"]
        is_k = "_K" in row["format"]
        color, marker = (plots.ACCENT, "o") if is_k else (plots.SECOND, "s")
        ax.plot([x, x], [found["low"], found["high"]], color="#999999", linewidth=1.6)
        ax.plot([x], [found["value"]], marker=marker, color=color, markersize=7)
        beside = {"xytext": (6, -13) if is_k else (6, 6), "textcoords": "offset points", "fontsize": 8.5}
        ax.annotate(row["format"], (x, found["value"]), **beside)
    ax.axhline(1, color=plots.INK, linewidth=0.9, linestyle=":")
    ax.set_yscale("log")
    ticks = [1, 1.1, 1.2, 1.5, 2, 3, 5]
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    ax.margins(x=0.12, y=0.1)


def tokens_by_format(rows: list[dict[str, Any]], title: str) -> None:
    """Bars of llama.cpp's tokens per processor second, the best round of each, with all rounds as strokes."""
    ax = plots.axes(title, "tokens per processor second (more is better)", size=(8.0, 1.2 + 0.36 * len(rows)))
    for y, row in enumerate(reversed(rows)):
        rounds = row["per_processor_second"]
        ax.barh(y, max(rounds), color=plots.PALE, edgecolor=plots.INK, linewidth=0.8, height=0.6)
        ax.plot(rounds, [y] * len(rounds), linestyle="none", marker="|", color=plots.ACCENT, markersize=9)
        ax.text(max(rounds), y, f"  {max(rounds):.0f}", va="center", fontsize=8.5)
    ax.set_yticks(range(len(rows)), [f"{row['format']} ({row['file_bytes'] / 1e6:.0f} MB)" for row in reversed(rows)])
    ax.grid(axis="y", visible=False)
