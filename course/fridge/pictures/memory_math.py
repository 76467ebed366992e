"""Unit 01: what fills a card, what a group of weights takes, and where the rules of thumb are off."""

from matplotlib.axes import Axes

from fridge.workbench import plots

_WIDTH = 24.0  # of a drawn card


def what_fills_a_card() -> None:
    """Draw a card's memory twice: with weights in 16 bits and with weights in 4."""
    title = "Weights take a fixed part of the card; conversations share what is left"
    ax = plots.diagram(title, size=(8.4, 2.6))
    for bottom, weights, label in ((1.6, 13.5, "weights in 16 bits"), (0.0, 3.9, "weights in 4 bits")):
        ax.text(-0.3, bottom + 0.5, label, ha="right", va="center", fontsize=8)
        _block(ax, 0, bottom, 2, "reserve", plots.INK, "white")
        _block(ax, 2, bottom, weights, "weights", plots.SECOND, plots.INK)
        left, number = 2 + weights, 1
        while left + 2 <= _WIDTH:
            _block(ax, left, bottom, 2, f"KV {number}", "#f4a582", plots.INK)
            left, number = left + 2, number + 1
        _block(ax, left, bottom, _WIDTH - left, "free" if _WIDTH - left > 1 else "", "white", plots.INK)
    ax.text(_WIDTH, 2.75, "KV 1, KV 2, …: one KV cache for each conversation", ha="right", fontsize=8)
    ax.set(xlim=(-5.2, _WIDTH + 0.5), ylim=(-0.3, 3.1))


def bits_of_a_group(shown: int = 6) -> None:
    """Draw the bits of neighbouring weights: 16 for each, and 4 for each with a scale and a zero point for all."""
    ax = plots.diagram("A group shares one scale and one zero point", size=(8.4, 2.3))
    unit = 0.16  # width of a bit
    for bottom, bits, label in ((1.6, 16, "FP16"), (0.0, 4, "INT4, group-wise")):
        ax.text(-0.3, bottom + 0.5, label, ha="right", va="center", fontsize=8)
        for index in range(shown):
            _block(ax, index * bits * unit, bottom, bits * unit, str(bits), "white", plots.INK)
        end = shown * bits * unit
        ax.text(end + 0.2, bottom + 0.5, "…", va="center")
        if bits == 4:
            _block(ax, end + 0.9, bottom, 16 * unit, "scale: 16", plots.SECOND, plots.INK)
            _block(ax, end + 0.9 + 16 * unit, bottom, 4 * unit, "4", plots.PALE, plots.INK)
            ax.text(end + 1.1 + 20 * unit, bottom + 0.5, "← zero point", va="center", fontsize=8)
    ax.set(xlim=(-3.4, 16.5), ylim=(-0.3, 2.8))


def where_the_rule_is_off(off: dict[str, float]) -> None:
    """A bar for each model: INT4 weights against a quarter of FP16, `off` = 0.15 for 15 % more."""
    worst = max(off, key=lambda name: off[name])
    ax = plots.axes(
        f'{worst} needs {100 * off[worst]:.0f} % more than "divide by 4" says',
        "INT4 g128: bytes beyond a quarter of FP16 (%)",
        size=(7.2, 3.6),
    )
    _bars(ax, {name: 100 * share for name, share in off.items()}, "{:.0f} %")


def where_a_step_goes(milliseconds: dict[str, float]) -> None:
    """A bar for each named time of a decode step; the last one is the step itself."""
    *parts, whole = milliseconds
    first = milliseconds[parts[0]]
    ax = plots.axes(
        f"A decode step takes {milliseconds[whole]:.0f} ms where bandwidth allows {first:.0f}",
        "time (ms)",
        size=(7.2, 2.8),
    )
    _bars(ax, milliseconds, "{:.1f}", dark=whole)
    plots.timed(ax)


def _bars(ax: Axes, values: dict[str, float], form: str, dark: str = "") -> None:
    names = list(values)
    colours = [plots.ACCENT if name == dark else plots.SECOND for name in names]
    bars = ax.barh(names, list(values.values()), color=colours, height=0.65)
    ax.bar_label(bars, [form.format(value) for value in values.values()], padding=3, fontsize=8)
    ax.invert_yaxis()
    ax.grid(visible=False, axis="y")
    ax.grid(axis="x", color=plots.PALE, linewidth=0.8)
    ax.margins(x=0.1)


def _block(ax: Axes, left: float, bottom: float, width: float, text: str, fill: str, ink: str) -> None:
    ax.add_patch(plots.plt.Rectangle((left, bottom), width, 1, facecolor=fill, edgecolor=plots.INK, linewidth=0.8))
    ax.text(left + width / 2, bottom + 0.5, text, ha="center", va="center", fontsize=8, color=ink)
