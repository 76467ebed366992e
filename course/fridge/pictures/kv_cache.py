"""Unit 03: the work that a KV cache saves."""

from matplotlib.axes import Axes

from fridge.workbench import plots


def repeated_work(prompt: int = 4, steps: int = 4) -> None:
    """Draw the positions that each step of generation computes: a row a step, a square a position."""
    title = "Without a cache each step repeats the last one; with it, a step is one position"
    ax = plots.diagram(title, size=(8.4, 2.6))
    width = prompt + steps
    for left, cached, label in ((0, False, "without a cache"), (width + 3, True, "with a cache")):
        ax.text(left, steps + 0.3, label, fontsize=9)
        for step in range(steps):
            for position in range(prompt + step):
                new = step == 0 or position == prompt + step - 1
                _work_cell(ax, left + position, steps - 1 - step, new, cached)
    for step in range(steps):
        label = "prompt" if step == 0 else f"token {step + 1}"
        ax.text(-0.3, steps - 0.5 - step, label, ha="right", va="center", fontsize=8)
    ax.set(xlim=(-2.2, 2 * width + 2.5), ylim=(-0.3, steps + 1))


def _work_cell(ax: Axes, x: float, y: float, new: bool, cached: bool) -> None:
    if new:
        plots.cell(ax, x, y, "new", plots.PALE)
    elif cached:
        plots.cell(ax, x, y, "kept", "white", "#777777")
    else:
        plots.cell(ax, x, y, "again", plots.ACCENT, "white")
