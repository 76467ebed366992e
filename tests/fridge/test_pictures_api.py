"""Unit 09's pictures of measurements: their titles say what these numbers say, whoever was the best."""

import matplotlib.pyplot as plt
import pytest

from fridge.serving.bench import api_figures
from fridge.serving.bench.latencies import OBJECTIVES

pytestmark = pytest.mark.usefixtures("no_window")


def results(**good: list[float]) -> dict:
    servers = {}
    for name, values in good.items():
        rates = {
            str(rate): {"goodput": {"brisk": value, "reading": 0.0}, "ttft": {"p95": rate / 10 + len(name)}}
            for rate, value in zip((0.5, 10.0, 2.0), values, strict=True)
        }
        servers[name] = {"rates": rates}
    objectives = [{"name": one.name, "ttft": one.ttft, "tpot": one.tpot} for one in OBJECTIVES]
    machine = {"cpu": "x", "threads": 2, "torch": "2", "date": "today"}
    return {"servers": servers, "objectives": objectives, "machine": machine, "note": "Something else ran."}


def test_goodput_names_the_best_and_orders_rates_as_numbers():
    """Guards against a victory that wasn't seen, and against a rate of 10 before one of 2."""
    api_figures.goodput(results(ours=[0.5, 0.1, 1.5], theirs=[0.5, 2.5, 2.0]))
    ax = plt.gca()
    assert ax.get_title(loc="left") == "theirs keeps 2.5 good requests in a second, ours 1.5"
    line = next(one for one in ax.lines if one.get_label() == "ours")
    assert (list(line.get_xdata()), list(line.get_ydata())) == ([0.5, 2.0, 10.0], [0.5, 1.5, 0.1])
    assert "1 s, then 100 ms" in ax.get_ylabel()
    slots = {"theirs, 8 slots": [0.5, 0.9, 0.9], "theirs, 32 slots": [0.5, 0.9, 1.9]}
    api_figures.goodput(results(ours=[0.5, 0.1, 1.5], **slots))
    assert plt.gca().get_title(loc="left") == "theirs, 32 slots keeps 1.9 good requests in a second, ours 1.5"
    assert "theirs, 8 slots" not in [one.get_label() for one in plt.gca().lines]
    api_figures.goodput(results(ours=[0.5, 0.1, 1.5]))
    assert plt.gca().get_title(loc="left") == "ours keeps 1.5 good requests in a second"


def test_first_tokens_and_where():
    """Guards against a picture of measurements without the machine that they are of."""
    api_figures.first_tokens(results(ours=[1, 1, 1], theirs=[1, 1, 1]))
    assert plt.gca().get_title(loc="left").endswith("ours waits least: 4050 ms (p95)")
    assert api_figures.where(results(ours=[1, 1, 1])) == "x, 2 threads, torch 2, today. Something else ran."
