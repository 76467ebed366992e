"""Unit 04: who waits for whom in a batch, whose memory is empty, and which block belongs to whom."""

import importlib.util
from dataclasses import dataclass
from itertools import cycle

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from fridge.serving.loop import Run
from fridge.serving.waste import PAPER, PARTS, POLICIES, Usage
from fridge.workbench import plots

_FILLS = ("#2166ac", "#92c5de", "#4d4d4d", "#d6604d", "#fddbc7", "#b8b8b8")  # neighbours differ in lightness
_LIGHT = {"#92c5de", "#fddbc7", "#b8b8b8"}
_PART_FILLS = {"token states": "#2166ac", "reserved": "#92c5de", "internal": "#d6604d", "external": "#e0e0e0"}
_HATCHES = {"token states": "", "reserved": "//", "internal": "xx", "external": ".."}

State = tuple[str, dict[str, tuple[list[int], int]]]  # (what happened, name -> (block table, length))


def reserved_and_used() -> None:
    """Draw one memory twice: three requests that reserve their maximum, and the same three in blocks."""
    ax = plots.diagram(
        "Reserved for the worst case, three requests fill the memory; in blocks, there is room for a fourth", (8.4, 2.5)
    )
    lengths = {"ann": 5, "bob": 2, "eve": 6}
    for row, paged in ((1.7, False), (0, True)):
        ax.text(-0.4, row + 0.5, "in blocks of 4" if paged else "reserved at once", ha="right", va="center", fontsize=9)
        owners = _in_blocks(lengths) if paged else [n for n in lengths for _ in range(8)]
        seen: dict[str, int] = dict.fromkeys(lengths, 0)
        for slot in range(24):
            name = owners[slot]
            used = bool(name) and seen[name] < lengths[name]
            if name:
                seen[name] += 1
            fill = _FILLS[list(lengths).index(name)] if used else "white"
            plots.cell(
                ax, slot, row, name[0] if name else "", fill, plots.INK if fill in (*_LIGHT, "white") else "white"
            )
        width = 4 if paged else 8
        for edge in range(0, 25, width):
            ax.plot([edge, edge], [row - 0.15, row + 1.15], color=plots.INK, linewidth=2)
    ax.set(xlim=(-6, 24.3), ylim=(-0.4, 3.0))


def shares_of_memory(usages: dict[str, Usage], title: str) -> None:
    """Draw how each policy's memory is divided, next to what the paper measured."""
    ax = plots.axes(title, "share of the KV memory (%)", "", (8.4, 3.6))
    labels, rows = [], []
    for policy, usage in usages.items():
        labels += [f"{POLICIES[policy]}, paper", f"{POLICIES[policy]}, here"]
        rows += [[share or 0.0 for share in PAPER[policy]], list(usage.shares)]
    lefts = [0.0] * len(rows)
    for index, part in enumerate(PARTS):
        widths = [row[index] for row in rows]
        fill, hatch = _PART_FILLS[part], _HATCHES[part]
        ax.barh(labels, widths, left=lefts, color=fill, hatch=hatch, edgecolor=plots.INK, linewidth=0.6, label=part)
        lefts = [left + width for left, width in zip(lefts, widths, strict=True)]
    for y, row in enumerate(rows):
        ax.text(1, y, f"{row[0]:.0f} %", va="center", fontsize=8, color="white", fontweight="bold")
    ax.invert_yaxis()
    ax.set(xlim=(0, 100))
    ax.grid(visible=False)
    ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def occupancy(runs: dict[str, Run], title: str) -> None:
    """Draw each server's places over its steps, an assembly line (流水线): a bar is a request, hatched is padding."""
    size = (8.4, 0.7 + sum(0.45 + 0.13 * run.places for run in runs.values()))
    figure, all_axes = plt.subplots(
        len(runs),
        1,
        sharex=True,
        squeeze=False,
        figsize=size,
        dpi=110,
        facecolor="white",
        layout="constrained",
        height_ratios=[run.places + 2 for run in runs.values()],
    )
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    for ax, (name, run) in zip(all_axes[:, 0], runs.items(), strict=True):
        _assembly_line(ax, run)
        ax.set_title(
            f"{name}: {len(run.steps)} steps, {100 * run.utilisation:.0f} % of the places at work",
            loc="left",
            fontsize=9,
        )
        ax.set(ylabel="place", ylim=(run.places - 0.4, -0.6), yticks=[0, run.places - 1])
        ax.spines[["top", "right"]].set_visible(False)
    all_axes[-1, 0].set(xlabel="step", xlim=(0, max(len(run.steps) for run in runs.values())))


def factors(runs: dict[str, Run]) -> None:
    """Draw tokens per second and tokens per step of one server after another, with its factor over the one before."""
    panels = {
        "useful tokens per second, measured": [run.throughput for run in runs.values()],
        "useful tokens per step, counted": [run.tokens_per_step for run in runs.values()],
    }
    (seconds, steps) = (values[-1] / values[0] for values in panels.values())
    size = (8.4, 0.9 + 0.55 * len(runs))
    figure, all_axes = plt.subplots(
        1, 2, sharey=True, figsize=size, dpi=110, facecolor="white", layout="constrained", squeeze=False
    )
    title = f"All of it together: {seconds:.1f} times the tokens per second, {steps:.1f} times the tokens per step"
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    for ax, (label, values), fill in zip(all_axes[0], panels.items(), (_FILLS[0], _FILLS[1]), strict=True):
        ax.barh(list(runs), values, color=fill, height=0.6)
        for index, value in enumerate(values):
            factor = f"   × {value / values[index - 1]:.2f}" if index else ""
            ax.text(value, index, f" {value:.1f}{factor}", va="center", fontsize=8.5)
        ax.set(xlabel=label, xlim=(0, 1.45 * max(values)))
        ax.spines[["top", "right"]].set_visible(False)
    all_axes[0, 0].invert_yaxis()
    plots.timed(all_axes[0, 0])


def block_table_steps(states: list[State], num_blocks: int, block_size: int, show: int = 4) -> None:
    """Draw the block tables at `show` moments of a history side by side; with ipywidgets, add a slider over all."""
    chosen = [round(index * (len(states) - 1) / max(1, show - 1)) for index in range(show)]
    columns = 2
    rows = -(-len(chosen) // columns)
    figure, all_axes = plt.subplots(
        rows, columns, figsize=(8.4, 2.5 * rows), dpi=110, facecolor="white", layout="constrained", squeeze=False
    )
    figure.suptitle(
        "A sequence's blocks lie anywhere, and return to the pool when it leaves",
        x=0.01,
        ha="left",
        fontsize=11,
        fontweight="bold",
    )
    names = _names(states)
    for ax, index in zip(all_axes.flat, chosen, strict=False):
        _pool(ax, states[index], index, num_blocks, block_size, names)
    plt.show()
    if importlib.util.find_spec("ipywidgets"):
        _slider(states, num_blocks, block_size, names)


def _slider(states: list[State], num_blocks: int, block_size: int, names: list[str]) -> None:
    import ipywidgets

    def draw(step: int) -> None:
        _, ax = plt.subplots(figsize=(5.2, 2.8), dpi=110, facecolor="white", layout="constrained")
        _pool(ax, states[step], step, num_blocks, block_size, names)
        plt.show()

    ipywidgets.interact(draw, step=ipywidgets.IntSlider(value=0, min=0, max=len(states) - 1, description="step"))


def _pool(ax: Axes, state: State, step: int, num_blocks: int, block_size: int, names: list[str]) -> None:
    happened, tables = state
    owner = {block: (name, place) for name, (table, _) in tables.items() for place, block in enumerate(table)}
    wide = (num_blocks + 1) // 2
    for block in range(num_blocks):
        left, bottom = (block % wide) * (block_size + 0.6), 1.9 - 1.9 * (block // wide)
        ax.text(left + block_size / 2, bottom + 1.1, str(block), ha="center", fontsize=7, color="#666666")
        name, place = owner.get(block, ("", 0))
        for offset in range(block_size):
            held = bool(name) and place * block_size + offset < tables[name][1]
            fill = _FILLS[names.index(name) % len(_FILLS)] if held else "white"
            ink = plots.INK if fill in (*_LIGHT, "white") else "white"
            plots.cell(ax, left + offset, bottom, name[0] if name else "", fill, ink)
    words = "   ".join(f"{name} → {table}" for name, (table, _) in tables.items()) or "nobody is there"
    ax.text(0, -0.75, words, fontsize=7.5)
    ax.set_title(f"step {step}: {happened}", loc="left", fontsize=8.5)
    ax.set(xlim=(-0.3, wide * (block_size + 0.6)), ylim=(-1.2, 3.6))
    ax.axis("off")


def _names(states: list[State]) -> list[str]:
    return list(dict.fromkeys(name for _, tables in states for name in tables))


def _in_blocks(lengths: dict[str, int]) -> list[str]:
    order = ["eve", "ann", "bob", "ann", "eve", ""]  # six blocks of four, as they came
    return [name for name in order for _ in range(4)]


def _assembly_line(ax: Axes, run: Run) -> None:
    fills: dict[str, str] = dict(zip(run.replies, cycle(_FILLS), strict=False))
    for bar in _bars(run):
        style = {"facecolor": fills[bar.name]}
        if bar.padding:
            style = {"facecolor": "white", "hatch": "////", "edgecolor": "#9a9a9a"}
        ax.barh(bar.place, bar.steps, left=bar.first, height=0.86, linewidth=0, **style)


@dataclass
class _Bar:
    name: str
    place: int
    padding: bool
    first: int
    steps: int = 0


def _bars(run: Run) -> list[_Bar]:
    # Steps in a row of one request in one place; a new bar where its reply is complete and only padding follows.
    bars: list[_Bar] = []
    here: dict[str, _Bar] = {}
    for index, step in enumerate(run.steps):
        here = {name: bar for name, bar in here.items() if name in step.computed}
        for name in step.computed:
            padding = name in step.padding
            if name not in here or here[name].padding != padding:
                taken = {bar.place for bar in here.values()}
                place = here[name].place if name in here else min(set(range(run.places)) - taken)
                here[name] = _Bar(name, place, padding, index)
                bars.append(here[name])
            here[name].steps += 1
    return bars
