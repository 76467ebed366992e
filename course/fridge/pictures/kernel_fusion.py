"""Unit 10: what stays inside a fused kernel, where a layer's bytes are, the cycle that greed makes, measured peers."""

from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from fridge.workbench import plots

_LIGHT = "#d9d9d9"


def one_trip() -> None:
    """Draw three operations by themselves and as one kernel: what goes to memory and comes back."""
    ax = plots.diagram("Three kernels send two results to memory and back; one kernel keeps them", (9.0, 3.2))
    ax.text(0, 5.6, "one by one", fontsize=9)
    for place, name in enumerate(("add", "silu", "multiply")):
        _box(ax, 4 * place, 3.6, 2.4, 1.1, name)
    values = (
        (0.0, "x", False),
        (1.2, "b", False),
        (3.0, "a", True),
        (7.0, "s", True),
        (9.3, "g", False),
        (11.0, "y", False),
    )
    for x, name, travels in values:
        _value(ax, x, name, travels)
    for tail, head in (
        ((0.4, 1.3), (0.8, 3.6)),
        ((1.6, 1.3), (1.6, 3.6)),
        ((2.2, 3.6), (3.2, 1.3)),
        ((3.6, 1.3), (4.6, 3.6)),
    ):
        _arrow(ax, tail, head)
    for tail, head in (
        ((6.2, 3.6), (7.2, 1.3)),
        ((7.6, 1.3), (8.6, 3.6)),
        ((9.7, 1.3), (9.5, 3.6)),
        ((10.2, 3.6), (11.2, 1.3)),
    ):
        _arrow(ax, tail, head)
    ax.text(14, 5.6, "in one kernel", fontsize=9)
    _box(ax, 14, 3.6, 6.4, 1.1, "add, silu, multiply")
    for x, name in ((14.2, "x"), (15.6, "b"), (17.0, "g"), (19.2, "y")):
        _value(ax, x, name, False)
    for x in (14.6, 16.0, 17.4):
        _arrow(ax, (x, 1.3), (x, 3.6))
    _arrow(ax, (19.6, 3.6), (19.6, 1.3))
    for left, right in ((-0.3, 12.2), (13.7, 20.7)):
        ax.plot([left, right], [2.4, 2.4], color=plots.INK, linewidth=0.9, linestyle=":")
    ax.text(-0.5, 4.1, "processor", fontsize=8, ha="right", va="center")
    ax.text(-0.5, 0.9, "memory", fontsize=8, ha="right", va="center")
    ax.set(xlim=(-3.0, 21.2), ylim=(0, 6.2))


def the_cycle_of_greed() -> None:
    """Draw y = x + f(x) W: a kernel of f and the addition would wait for a product that waits for it."""
    ax = plots.diagram("f and add can't be one kernel: a product stands between them", (7.6, 2.9))
    for x, name, fill in ((2.0, "f", plots.SECOND), (5.6, "product", "white"), (9.6, "add", plots.SECOND)):
        _box(ax, x, 1.2, 2.2, 1.0, name, fill, "white" if fill == plots.SECOND else plots.INK)
    for tail, head in (
        ((0.7, 1.7), (2.0, 1.7)),
        ((4.2, 1.7), (5.6, 1.7)),
        ((7.8, 1.7), (9.6, 1.7)),
        ((11.8, 1.7), (13.0, 1.7)),
    ):
        _arrow(ax, tail, head)
    ax.annotate(
        "",
        xy=(10.7, 1.2),
        xytext=(0.6, 1.5),
        arrowprops={"arrowstyle": "-|>", "color": plots.INK, "connectionstyle": "arc3,rad=0.22"},
    )
    ax.text(0.3, 1.7, "x", fontsize=10, ha="center", va="center")
    ax.text(13.3, 1.7, "y", fontsize=10, ha="center", va="center")
    outline = {"fill": False, "edgecolor": plots.ACCENT, "linestyle": "--", "linewidth": 1.4}
    ax.add_patch(plt.Rectangle((1.7, 0.9), 2.8, 1.6, **outline))
    ax.add_patch(plt.Rectangle((9.3, 0.9), 2.8, 1.6, **outline))
    ax.plot([4.5, 9.3], [2.5, 2.5], color=plots.ACCENT, linestyle="--", linewidth=1.4)
    ax.text(6.9, 2.65, "one kernel? out to the product, and back in", color=plots.ACCENT, fontsize=8.5, ha="center")
    ax.set(xlim=(-0.2, 13.8), ylim=(-0.6, 3.2))


def weights_and_the_rest(megabytes: dict[int, tuple[float, float, float]]) -> None:
    """Draw what a layer moves: number of tokens -> megabytes of weights, of the rest one by one, of the rest fused."""
    first, last = min(megabytes), max(megabytes)
    shares = {rows: (one - other) / (weights + one) for rows, (weights, one, other) in megabytes.items()}
    title = f"Fusing saves {shares[first]:.1%} of the bytes for {first} token, {shares[last]:.0%} for {last}"
    ax = plots.axes(title, "tokens in a step", "MB that a layer moves", (7.6, 3.6))
    for place, (weights, one, other) in enumerate(megabytes.values()):
        for shift, rest, fill, hatch in ((-0.2, one, plots.ACCENT, ""), (0.2, other, plots.SECOND, "///")):
            labels = ("weights", "all else, one by one" if shift < 0 else "all else, fused")
            show = place == 0
            ax.bar(
                place + shift,
                weights,
                0.38,
                color=_LIGHT,
                edgecolor=plots.INK,
                label=labels[0] if show and shift < 0 else None,
            )
            ax.bar(
                place + shift,
                rest,
                0.38,
                bottom=weights,
                color=fill,
                hatch=hatch,
                edgecolor=plots.INK,
                label=labels[1] if show else None,
            )
    ax.set_xticks(range(len(megabytes)), list(map(str, megabytes)))
    ax.legend(frameon=False, loc="upper left")


def fused_engines(rows: list[dict[str, Any]], where: str) -> None:
    """Draw tokens per processor second of one user, a bar for each way; the first one is what all are held against."""
    base = rows[0]["per_processor_second"]
    best = max(rows, key=lambda row: row["per_processor_second"])
    title = f"{best['name']}: {best['per_processor_second'] / base:.1f} times {rows[0]['name']}"
    ax = plots.axes(title, "tokens per processor second, one user, one thread", "", (7.6, 0.45 * len(rows) + 1.4))
    for place, row in enumerate(rows):
        fill = plots.SECOND if row["bits"] == 32 else plots.ACCENT
        ax.barh(
            -place,
            row["per_processor_second"],
            0.7,
            color=fill,
            hatch="" if row["bits"] == 32 else "///",
            edgecolor=plots.INK,
        )
        ax.text(row["per_processor_second"], -place, f" {row['per_processor_second']:.1f}", va="center", fontsize=8.5)
    ax.set_yticks([-place for place in range(len(rows))], [row["name"] for row in rows])
    ax.grid(visible=False, axis="y")
    ax.figure.supxlabel(where, x=0.01, ha="left", fontsize=8)


def _box(
    ax: Axes, x: float, y: float, wide: float, high: float, text: str, fill: str = plots.INK, ink: str = "white"
) -> None:
    ax.add_patch(plt.Rectangle((x, y), wide, high, facecolor=fill, edgecolor=plots.INK, linewidth=0.9))
    ax.text(x + wide / 2, y + high / 2, text, ha="center", va="center", fontsize=8.5, color=ink)


def _value(ax: Axes, x: float, name: str, travels: bool) -> None:
    _box(ax, x, 0.5, 0.8, 0.8, name, plots.ACCENT if travels else _LIGHT, "white" if travels else plots.INK)


def _arrow(ax: Axes, tail: tuple[float, float], head: tuple[float, float]) -> None:
    ax.annotate("", xy=head, xytext=tail, arrowprops={"arrowstyle": "-|>", "color": plots.INK, "linewidth": 0.9})
