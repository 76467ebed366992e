"""Pictures of a bench's raw figures: of the ones that come with the course, or of your own machine's."""

import json
from pathlib import Path

from fridge.workbench import plots

KEPT = Path(__file__).parents[1] / "measurements" / "serving.json"


def read(path: Path = KEPT) -> dict:
    """The raw figures that `python -m fridge.serving.bench` wrote."""
    return json.loads(path.read_text(encoding="utf-8"))


def where(results: dict) -> str:
    """On which machine, when, with which threads."""
    machine = results["machine"]
    return f"{machine['cpu']}, {machine['threads']} threads, torch {machine['torch']}, {machine['date']}"


def contest(results: dict) -> None:
    """A bar for each engine's useful tokens per second."""
    speed = {name: one["useful_tokens_per_second"] for name, one in results["contest"].items()}
    names = sorted(speed, key=lambda name: speed[name])
    engine, other = (
        next(name for name in reversed(names) if name.startswith("engine") == ours) for ours in (True, False)
    )
    first, second = sorted((engine, other), key=lambda name: speed[name], reverse=True)
    ax = plots.axes(
        f"{first}: {speed[first] / speed[second]:.1f} times the tokens of {second}",
        "useful tokens per second, the trace of 32 requests",
        size=(8.0, 3.4),
    )
    colors = [plots.ACCENT if name.startswith("engine") else plots.SECOND for name in names]
    bars = ax.barh(names, [speed[name] for name in names], color=colors)
    ax.bar_label(bars, fmt="%.0f", padding=3, fontsize=8)
    ax.grid(axis="y", visible=False)


def by_batch(results: dict) -> None:
    """Tokens per second over the batch for both kinds of weights, and the floor of their matrix products."""
    rows = results["sweep"]
    batches = sorted({row["batch"] for row in rows})
    series = {}
    for kind in ("float32", "int8"):
        own = [row for row in rows if row["weights"] == kind]
        series[f"{kind}, engine"] = [row["tokens_per_second"] for row in own]
        series[f"{kind}, products alone"] = [row["floor_tokens_per_second"] for row in own]
    shares = [row["tokens_per_second"] / row["floor_tokens_per_second"] for row in rows]
    ax = plots.axes(
        f"Matrix products alone take {min(shares):.0%} to {max(shares):.0%} of a step",
        "sequences in the batch",
        "tokens per second",
    )
    plots.lines(ax, batches, series)
    ax.set(xscale="log", yscale="log", xticks=batches, xticklabels=batches)
    ax.minorticks_off()
