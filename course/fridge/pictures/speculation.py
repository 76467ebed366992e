"""Unit 05: one round of speculation, what is kept of a draft's distribution, and when guessing pays."""

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from fridge.workbench import plots

_LIGHT = "#d9d9d9"


def one_round() -> None:
    """Draw three steps of plain decoding beside one round of speculation that gives the same three tokens."""
    ax = plots.diagram("Three tokens: three calls of the large model, or one call that checks guesses", (8.4, 3.1))
    known = ["the", "cat"]
    for row, new in enumerate(("sat", "on", "my")):
        so_far = [*known, "sat", "on"][: 2 + row]
        _words(ax, 0, 2.6 - 1.3 * row, so_far, new)
    ax.text(0, 4.2, "one by one (large model, 3 calls)", fontsize=9)
    ax.text(9.2, 4.2, "speculation (large model, 1 call)", fontsize=9)
    guesses = ["sat", "on", "the", "mat"]
    ax.text(9.2, 3.75, "1  the drafter guesses four tokens", fontsize=8)
    _row(ax, 9.2, 2.55, known, ["white"] * 2)
    _row(ax, 12.2, 2.55, guesses, [_LIGHT] * 4)
    ax.text(9.2, 2.1, "2  the large model's choice after each, in one call", fontsize=8)
    _row(ax, 12.2, 0.9, ["sat", "on", "my", "…", "…"], [plots.SECOND, plots.SECOND, plots.ACCENT, "white", "white"])
    ax.text(9.2, 0.45, "3  keep what agrees, and the large model's own word", fontsize=8)
    _row(ax, 9.2, -0.75, [*known, "sat", "on", "my"], ["white"] * 2 + [plots.SECOND] * 2 + [plots.ACCENT])
    ax.set(xlim=(-0.3, 20), ylim=(-1.0, 4.7))


def overlap(p: list[float], q: list[float], names: list[str]) -> None:
    """Draw target and draft probabilities: what is accepted, what is rejected, what the residual fills in."""
    accepted = [min(a, b) for a, b in zip(p, q, strict=True)]
    share = sum(accepted)
    title = f"{100 * share:.0f} % of the drafts survive; the residual fills exactly what is missing"
    ax = plots.axes(title, "token", "probability", (7.2, 3.4))
    x = range(len(p))
    rejected = [max(0.0, b - a) for a, b in zip(p, q, strict=True)]
    missing = [max(0.0, a - b) for a, b in zip(p, q, strict=True)]
    ax.bar(x, accepted, color=plots.SECOND, edgecolor=plots.INK, label="accepted: min(p, q)")
    ax.bar(
        x,
        rejected,
        bottom=accepted,
        color="white",
        hatch="////",
        edgecolor="#9a9a9a",
        label="drafted too often: rejected",
    )
    ax.bar(x, missing, bottom=accepted, color=plots.ACCENT, edgecolor=plots.INK, label="residual: max(0, p - q)")
    for place, height in enumerate(p):
        ax.plot([place - 0.45, place + 0.45], [height, height], color=plots.INK, linewidth=2.2)
    ax.plot([], [], color=plots.INK, linewidth=2.2, label="target p")
    ax.set_xticks(list(x), names)
    ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def shares(series: dict[str, list[float]], names: list[str], title: str) -> None:
    """Draw how often each token was emitted, a group of bars for each token, a bar for each rule."""
    ax = plots.axes(title, "token", "share of the runs", (7.2, 3.4))
    width = 0.8 / len(series)
    fills = (plots.INK, plots.SECOND, "#f4a582", plots.ACCENT)
    hatches = ("", "", "..", "//")
    for index, (label, values) in enumerate(series.items()):
        x = [place - 0.4 + width * (index + 0.5) for place in range(len(values))]
        fill, hatch = fills[index % 4], hatches[index % 4]
        ax.bar(x, values, width, label=label, color=fill, hatch=hatch, edgecolor="white")
    ax.set_xticks(range(len(names)), names)
    ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def speedups(rows: list[tuple[str, float, float]], title: str) -> None:
    """Draw the predicted and the measured speed-up of each case, and the line where nothing is won."""
    ax = plots.axes(title, "speed-up over one token at a time", "", (8.0, 0.9 + 0.42 * len(rows)))
    for index, (_, predicted, measured) in enumerate(rows):
        ax.barh(index, measured, 0.62, color=plots.SECOND if measured >= 1 else "#f4a582", edgecolor=plots.INK)
        ax.text(max(measured, predicted), index, f"   {measured:.2f}", va="center", fontsize=8.5)
        ax.plot([predicted], [index], marker="D", color=plots.ACCENT, markersize=6, linestyle="none")
    ax.plot([], [], marker="D", color=plots.ACCENT, linestyle="none", label="predicted")
    ax.axvline(1, color=plots.INK, linewidth=1.2, linestyle="--")
    ax.set_yticks(range(len(rows)), [name for name, _, _ in rows])
    ax.invert_yaxis()
    ax.set_xlim(0, 1.15 * max(max(predicted, measured) for _, predicted, measured in rows))
    ax.grid(visible=False)
    ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    plots.timed(ax)


def _words(ax: Axes, x: float, y: float, so_far: list[str], new: str) -> None:
    _row(ax, x, y, so_far, ["white"] * len(so_far))
    left = x + 1.5 * len(so_far)
    ax.annotate("", (left + 0.75, y + 0.4), (left + 0.05, y + 0.4), arrowprops={"arrowstyle": "->"})
    _row(ax, left + 0.8, y, [new], [plots.ACCENT])


def _row(ax: Axes, x: float, y: float, words: list[str], fills: list[str]) -> None:
    for index, (word, fill) in enumerate(zip(words, fills, strict=True)):
        left = x + 1.5 * index
        ax.add_patch(plt.Rectangle((left, y), 1.4, 0.9, facecolor=fill, edgecolor=plots.INK, linewidth=0.8))
        ink = "white" if fill in (plots.ACCENT, plots.SECOND) else plots.INK
        ax.text(left + 0.7, y + 0.45, word, ha="center", va="center", fontsize=8, color=ink)
