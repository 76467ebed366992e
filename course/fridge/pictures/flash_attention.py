"""Unit 06: what moves between the two memories, partial results that are merged, tiles, and what measurements say."""

from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from fridge.attention.bench import table_bytes
from fridge.workbench import plots

_LIGHT = "#d9d9d9"
_SIX = (  # as plots.STYLES, with two more; lightness, line and marker all differ
    *plots.STYLES,
    {"color": "#762a83", "linestyle": (0, (5, 1, 1, 1)), "marker": "v"},
    {"color": "#5aae61", "linestyle": (0, (8, 2)), "marker": "P"},
)


def two_ways_through_memory() -> None:
    """Draw what naive attention and FlashAttention move between HBM and SRAM."""
    ax = plots.diagram("Naive attention moves two tables there and back; the tiles move neither", (9.2, 3.6))
    ax.text(0, 7.3, "naive: three steps", fontsize=9)
    steps = ("scores", "softmax", "mix")
    for index, step in enumerate(steps):
        _box(ax, 1.2 + 3.6 * index, 0.2, 2.0, 0.9, step, plots.INK, "white")
    for x, name, wide in ((0, "Q", 0.6), (0.9, "K", 0.6), (10.2, "V", 0.6), (11.1, "O", 0.6)):
        _box(ax, x, 4.2, wide, 2.4, name, _LIGHT)
    _box(ax, 2.6, 4.2, 2.4, 2.4, "S", plots.ACCENT, "white")
    _box(ax, 6.2, 4.2, 2.4, 2.4, "P", plots.ACCENT, "white")
    for tail, head in (((0.4, 4.1), (1.9, 1.2)), ((1.2, 4.1), (2.1, 1.2)), ((10.4, 4.1), (9.6, 1.2))):
        _arrow(ax, tail, head)
    for tail, head in (((2.7, 1.2), (3.4, 4.1)), ((4.2, 4.1), (5.4, 1.2)), ((6.2, 1.2), (7.0, 4.1))):
        _arrow(ax, tail, head)
    _arrow(ax, (7.8, 4.1), (9.0, 1.2))
    _arrow(ax, (10.2, 1.2), (11.3, 4.1))
    ax.text(14.6, 7.3, "FlashAttention: one step, tile by tile", fontsize=9)
    for left, name, hot in ((14.6, "Q", 1), (16.4, "K", 2), (17.4, "V", 2), (21.4, "O", 1)):
        for block in range(4):
            fill = plots.SECOND if block == hot else _LIGHT
            _box(ax, left, 6.0 - 0.6 * block, 0.7, 0.6, f"{name}", fill, "white" if block == hot else plots.INK)
    _box(ax, 15.6, 0.2, 4.8, 0.9, "scores, softmax, mix of one tile", plots.INK, "white")
    for tail, head in (((14.95, 4.1), (16.4, 1.2)), ((16.75, 4.1), (17.3, 1.2)), ((17.75, 4.1), (18.1, 1.2))):
        _arrow(ax, tail, head)
    _arrow(ax, (19.6, 1.2), (21.6, 4.1))
    for left, right in ((-0.4, 12.3), (14.2, 22.6)):
        ax.plot([left, right], [2.6, 2.6], color=plots.INK, linewidth=0.9, linestyle=":")
        ax.text(left, 2.75, "HBM", fontsize=8, ha="right", va="bottom")
        ax.text(left, 2.45, "SRAM", fontsize=8, ha="right", va="top")
    ax.set(xlim=(-1.8, 22.8), ylim=(0, 7.8))


def two_partial_results() -> None:
    """Draw two partial softmax sums with their own maxima, and what merging them does."""
    ax = plots.axes("Bring both sides to the larger maximum, then add", "key", "exp(score - m)", (7.6, 3.2))
    scores = [0.0, 1.0, -1.0, 3.0, 2.0, 1.0]
    own = [2.718281828 ** (score - (1.0 if index < 3 else 3.0)) for index, score in enumerate(scores)]
    both = [2.718281828 ** (score - 3.0) for score in scores]
    x = [0, 1, 2, 4, 5, 6]
    ax.bar(x, own, 0.8, color="white", edgecolor="#8c8c8c", hatch="////", label="with the maximum of the own side")
    ax.bar(x, both, 0.8, color=plots.SECOND, edgecolor=plots.INK, label="with the maximum of both")
    ax.text(1, 1.08, "m = 1", ha="center", fontsize=9)
    ax.text(5, 1.08, "m = 3", ha="center", fontsize=9)
    ax.set_xticks(x, [f"score {score:g}" for score in scores], fontsize=8)
    ax.set_ylim(0, 1.25)
    ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def tiles_behind_the_mask(blocks: int = 5, past: int = 2) -> None:
    """Draw the tiles of a causal mask, square and with more keys than queries: whole, cut, and never loaded."""
    ax = plots.diagram("Behind the mask: tiles that nobody loads", (8.4, 3.4))
    for left, extra, title in ((0, 0, "as many keys as queries"), (blocks + 3, past, "the queries come last")):
        ax.text(left, blocks + 0.35, title, fontsize=9)
        for row in range(blocks):
            for column in range(blocks + extra):
                _tile(ax, left + column, blocks - 1 - row, column - row - extra)
        ax.text(left - 0.2, blocks / 2, "queries", rotation=90, ha="right", va="center", fontsize=8)
        ax.text(left + (blocks + extra) / 2, -0.15, "keys", ha="center", va="top", fontsize=8)
    ax.set_aspect("equal")
    ax.set(xlim=(-0.8, 2 * blocks + past + 3.3), ylim=(-0.7, blocks + 1))


def time_and_memory(runs: dict[str, list[dict[str, Any]]]) -> None:
    """Draw milliseconds and peak megabytes over the length, a curve for each way; those that failed are left out.

    Beside the peaks, which are measured, stands the size of the table of scores, which is counted.
    """
    good = {name: [row for row in rows if row["status"] == "ok"] for name, rows in runs.items()}
    good = {name: rows for name, rows in good.items() if rows}
    longest = max(row["length"] for rows in good.values() for row in rows)
    last = {name: row for name, rows in good.items() for row in rows if row["length"] == longest}
    fastest, leanest = (min(last, key=lambda name: last[name][what]) for what in ("seconds", "peak_bytes"))
    _, panels = plt.subplots(1, 2, figsize=(9.6, 3.6), dpi=110, facecolor="white", layout="constrained")
    for ax, what, unit, factor, best in (
        (panels[0], "seconds", "milliseconds", 1e3, f"At {longest} positions, {fastest} is the fastest"),
        (panels[1], "peak_bytes", "MB at the peak", 1e-6, f"… and {leanest} has the lowest peak"),
    ):
        for (name, rows), style in zip(good.items(), _SIX, strict=False):
            values = [factor * row[what] for row in rows]
            ax.plot([row["length"] for row in rows], values, label=name, markersize=5, linewidth=1.8, **style)
        by_length = {row["length"]: row for rows in good.values() for row in rows}
        lengths = sorted(by_length)
        if what == "peak_bytes":
            tables = [factor * table_bytes(by_length[length]) for length in lengths]
            ax.plot(lengths, tables, label="one table of scores,\ncounted", color="#8c8c8c", linewidth=5, alpha=0.5)
        _finish(ax, best, unit, lengths, logarithmic=what == "seconds")  # a peak that can't be seen counts as 0
    panels[1].legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    plots.timed(panels[0])


def teraflops(results: dict[str, Any]) -> None:
    """Draw a sweep: TFLOP/s over the length, a panel for each direction, mask and size of a head."""
    rows, peak = results["rows"], results["matmul_tflops"]
    kinds = sorted({(row["backward"], row["head_dim"], row["causal"]) for row in rows})
    columns = len({kind[1:] for kind in kinds})
    height = len(kinds) // columns
    _, panels = plt.subplots(
        height,
        columns,
        figsize=(4.2 * columns, 3.1 * height),
        dpi=110,
        facecolor="white",
        layout="constrained",
        squeeze=False,
    )
    names = list(dict.fromkeys(row["name"] for row in rows))
    for ax, (backward, head_dim, causal) in zip(panels.flat, kinds, strict=True):
        kind = {"backward": backward, "head_dim": head_dim, "causal": causal}
        here = [row for row in rows if kind.items() <= row.items()]
        for name, style in zip(names, _SIX, strict=False):
            own = [row for row in here if row["name"] == name and row["status"] == "ok"]
            x, y = [row["length"] for row in own], [row["tflops"] for row in own]
            ax.plot(x, y, label=name, markersize=4, linewidth=1.6, **style)
        best = max((row["tflops"] for row in here if row["status"] == "ok"), default=0.0)
        way = ("backward" if backward else "forward") + (", causal" if causal else "") + f", head {head_dim}"
        title = f"{way}: at best {best / peak:.0%} of a matmul"
        _finish(ax, title, "TFLOP/s", sorted({row["length"] for row in rows}), logarithmic=False)
    panels[0, -1].legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
    machine = results["machine"]
    where = f"{machine.get('gpu', machine['cpu'])}, {results['dtype']}, torch {machine['torch']}, {machine['date']}"
    panels[0, 0].figure.suptitle(f"{where}; a large matmul: {peak:.1f} TFLOP/s", x=0.01, ha="left", fontsize=10)


def published(figures: list[dict[str, Any]], predicted: dict[int, dict[str, list[float]]]) -> None:
    """Draw TFLOP/s as a paper measured them, a panel for each figure, and what was predicted for its heads.

    Args:
        figures: of one card and one pass, as `fridge.attention.papers` has them.
        predicted: for each head_dim a curve by name, a value for each length of the figure.
    """
    look = {"dpi": 110, "facecolor": "white", "layout": "constrained"}
    _, panels = plt.subplots(1, len(figures), figsize=(4.6 * len(figures), 3.9), sharey=True, **look)
    for ax, figure in zip(panels, figures, strict=True):
        for (name, row), style in zip(figure["series"].items(), _SIX, strict=False):
            there = {length: value for length, value in row.items() if value is not None}
            ax.plot(there.keys(), there.values(), label=name, markersize=4, linewidth=1.6, **style)
        lengths = list(next(iter(figure["series"].values())))
        for (name, curve), width in zip(predicted[figure["head_dim"]].items(), (7, 3), strict=False):
            ax.plot(lengths, curve, label=f"predicted: {name}", color="#8c8c8c", linewidth=width, alpha=0.45)
        _finish(ax, f"head {figure['head_dim']}: {figure['place']}", "TFLOP/s", lengths, logarithmic=False)
    panels[-1].legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
    panels[0].set_ylim(0)  # at last: it holds the scale that all panels share
    first = figures[0]
    whose = f"{first['paper']} (arXiv {first['arxiv']}), {first['card']}, {first['pass']}"
    panels[0].figure.suptitle(f"{whose}: the paper's numbers, not ours", x=0.01, ha="left", fontsize=10)


def _finish(ax: Axes, title: str, unit: str, lengths: list[int], logarithmic: bool = True) -> None:
    ax.set_title(title, loc="left", fontsize=9.5, fontweight="bold")
    ax.set_xlabel("positions")
    ax.set_ylabel(unit)
    ax.set_xscale("log", base=2)
    if logarithmic:
        ax.set_yscale("log")
    ax.set_xticks(lengths, [str(length) for length in lengths], fontsize=8)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", color=plots.PALE, linewidth=0.8)
    ax.set_axisbelow(True)


def _tile(ax: Axes, x: float, y: float, beyond: int) -> None:
    if beyond < 0:
        plots.cell(ax, x, y, "", plots.SECOND)
    elif beyond > 0:
        ax.add_patch(plt.Rectangle((x, y), 1, 1, facecolor="white", edgecolor="#b0b0b0", hatch="////", linewidth=0.6))
    else:
        plots.cell(ax, x, y, "", "white")
        ax.add_patch(plt.Polygon([(x, y), (x, y + 1), (x + 1, y)], facecolor=plots.SECOND, edgecolor=plots.INK))
        ax.text(x + 0.32, y + 0.28, "mask", ha="center", va="center", fontsize=6.5, color="white")


def _box(ax: Axes, x: float, y: float, width: float, height: float, text: str, fill: str, ink: str = plots.INK) -> None:
    ax.add_patch(plt.Rectangle((x, y), width, height, facecolor=fill, edgecolor=plots.INK, linewidth=0.8))
    ax.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=8, color=ink)


def _arrow(ax: Axes, tail: tuple[float, float], head: tuple[float, float]) -> None:
    ax.annotate("", head, tail, arrowprops={"arrowstyle": "->", "linewidth": 0.9, "color": plots.INK})
