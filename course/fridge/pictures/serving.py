"""Unit 09: what stands between a token and its reader, how long users wait, and where a server breaks."""

import math

import matplotlib.pyplot as plt

from fridge.workbench import plots

_PARTS = (  # box, what it does, what goes along the arrow behind it
    ("engine", "a step for all,\nlogits, a token", "9023"),
    ("detokenizer", "bytes to letters,\nnone taken back", "“Hi #”"),
    ("stop strings", "hold back what\nmay become one", "“Hi ”"),
    ("dispatcher", "each reader’s\nown box", "(“Hi ”, –)"),
    ("chunks", "JSON in an\nevent stream", "data: {…}"),
    ("reader", "reads when\nthey like", ""),
)
_WIDE, _STEP = 1.5, 2.35


def server_pipeline() -> None:
    """Draw the parts of a server in a row, what goes from each to the next, and the way back of a reader who leaves."""
    ax = plots.diagram("A token on its way to a reader, and a reader’s way out", size=(9.4, 3.0))
    for place, (name, does, sent) in enumerate(_PARTS):
        x = _STEP * place
        color = (plots.SECOND, "#f4a582")[name == "dispatcher"] if name != "reader" else "white"
        ax.add_patch(plt.Rectangle((x, 1.0), _WIDE, 1.1, facecolor=color, edgecolor=plots.INK, linewidth=0.9))
        ink = "white" if color == plots.SECOND else plots.INK
        ax.text(x + _WIDE / 2, 2.25, name, ha="center", fontsize=9, fontweight="bold")
        ax.text(x + _WIDE / 2, 1.55, does, ha="center", va="center", fontsize=7.5, color=ink)
        if sent:
            along = {"arrowstyle": "->", "color": plots.INK, "linewidth": 1.4}
            ax.annotate("", (x + _STEP, 1.55), (x + _WIDE, 1.55), arrowprops=along)
            ax.text(x + (_WIDE + _STEP) / 2, 0.78, sent, ha="center", fontsize=7.5)
    end = _STEP * (len(_PARTS) - 1) + _WIDE / 2
    back = {"arrowstyle": "->", "color": plots.ACCENT, "linewidth": 1.6, "linestyle": "--"}
    ax.plot([end, end, _STEP * 3 + _WIDE / 2], [1.0, 0.3, 0.3], color=plots.ACCENT, linewidth=1.6, linestyle="--")
    ax.annotate("", (_WIDE / 2, 1.0), (_WIDE / 2, 0.3), arrowprops=back)
    ax.plot([_STEP * 3 + _WIDE / 2, _WIDE / 2], [0.3, 0.3], color=plots.ACCENT, linewidth=1.6, linestyle="--")
    words = "hangs up: cancel, and the memory is free at once"
    ax.text(end / 2 + _WIDE / 2, 0.02, words, ha="center", fontsize=8.5, color=plots.ACCENT)
    ax.set(xlim=(-0.2, end + _WIDE), ylim=(-0.2, 2.6))


def waits(by_name: dict[str, list[float]], title: str) -> None:
    """The share of requests that have their first token after so many seconds, a curve for each name."""
    ax = plots.axes(title, "seconds to the first token", "requests (%)")
    for (name, values), style in zip(by_name.items(), plots.STYLES, strict=False):
        came = sorted(value for value in values if math.isfinite(value))
        shares = [100 * (place + 1) / len(values) for place in range(len(came))]
        look = {**style, "marker": ""}
        ax.step([0.0, *came], [0.0, *shares], where="post", label=name, linewidth=1.8, **look)
    ax.set(ylim=(0, 102), xlim=(0, None))
    ax.legend(frameon=False, loc="lower right")


def goodput_over_rate(rates: list[float], series: dict[str, list[float]], found: float | None, title: str) -> None:
    """Requests a second over the rate at which they come; a dashed line at the rate that was found."""
    ax = plots.axes(title, "requests that come a second", "requests a second")
    ax.plot([0, max(rates)], [0, max(rates)], color="#999999", linewidth=0.9, linestyle=":")
    plots.lines(ax, rates, series)
    if found is not None:
        ax.axvline(found, color=plots.INK, linewidth=1.0, linestyle="--")
        ax.annotate(
            f"found: {found:g}", (found, ax.get_ylim()[1]), xytext=(4, -10), textcoords="offset points", fontsize=8.5
        )
    ax.set(xlim=(0, None), ylim=(0, None))
