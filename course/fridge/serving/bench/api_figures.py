"""Pictures of API servers under load, from the raw figures of `python -m fridge.serving.bench.api`."""

from pathlib import Path

from fridge.serving.bench.figures import read
from fridge.workbench import plots

KEPT = Path(__file__).parents[1] / "measurements" / "api.json"


def kept() -> dict:
    """The raw figures that come with the course. FileNotFoundError: none do; measure your own."""
    return read(KEPT)


def goodput(results: dict, objective: str = "brisk") -> None:
    """Good requests in a second over those that arrive, a line a server; of llama.cpp's the better one."""
    [limit] = [one for one in results["objectives"] if one["name"] == objective]
    rates = sorted({float(rate) for server in results["servers"].values() for rate in server["rates"]})
    series = {name: _by_rate(server, objective) for name, server in _shown(results, objective).items()}
    best = {name: max(values) for name, values in series.items()}
    first, *others = sorted(best, key=lambda name: best[name], reverse=True)
    behind = f", {others[0]} {best[others[0]]:.1f}" if others else ""
    ax = plots.axes(
        f"{first} keeps {best[first]:.1f} good requests in a second{behind}",
        "requests that arrive in a second",
        f"of these, good ones\n(first token in {limit['ttft']:g} s, then {1000 * limit['tpot']:g} ms each)",
    )
    ax.plot([0, rates[-1]], [0, rates[-1]], color=plots.PALE, linewidth=1.2, zorder=0)
    ax.annotate("all are good", (rates[-1], rates[-1]), ha="right", va="top", fontsize=8, color=plots.INK)
    plots.lines(ax, rates, series)
    ax.set(xlim=(0, None), ylim=(0, None))


def first_tokens(results: dict, percent: str = "p95", objective: str = "brisk") -> None:
    """Seconds to the first token, that so many of a hundred requests don't exceed, over the rate of arrivals."""
    rates = sorted({float(rate) for server in results["servers"].values() for rate in server["rates"]})
    series = {
        name: [found["ttft"][percent] if found["ttft"] else float("nan") for _, found in _ordered(server)]
        for name, server in _shown(results, objective).items()
    }
    at_first = {name: values[0] for name, values in series.items()}
    first = min(at_first, key=lambda name: at_first[name])
    ax = plots.axes(
        f"At {rates[0]:g} requests in a second {first} waits least: {1000 * at_first[first]:.0f} ms ({percent})",
        "requests that arrive in a second",
        f"seconds to the first token, {percent}",
    )
    plots.lines(ax, rates, series)
    ax.set(yscale="log", xlim=(0, None))


def where(results: dict) -> str:
    """On which machine, when, with which threads; and what its maker wants to be known."""
    machine = results["machine"]
    note = f". {results['note']}" if results["note"] else ""
    return f"{machine['cpu']}, {machine['threads']} threads, torch {machine['torch']}, {machine['date']}{note}"


def _shown(results: dict, objective: str) -> dict[str, dict]:
    # One of each kind: of servers that differ in their slots alone, the one with the best goodput.
    best: dict[str, str] = {}
    for name, server in results["servers"].items():
        kind = name.partition(",")[0] if name.endswith("slots") else name
        if kind not in best or max(_by_rate(server, objective)) > max(
            _by_rate(results["servers"][best[kind]], objective)
        ):
            best[kind] = name
    return {name: results["servers"][name] for name in best.values()}


def _by_rate(server: dict, objective: str) -> list[float]:
    return [found["goodput"][objective] for _, found in _ordered(server)]


def _ordered(server: dict) -> list[tuple[str, dict]]:
    return sorted(server["rates"].items(), key=lambda one: float(one[0]))
