"""Unit 04's pictures of measurements: their titles say what these numbers say, whoever was the fastest."""

import matplotlib.pyplot as plt
import pytest

from fridge import pictures
from fridge.serving import loop, traces
from fridge.serving.bench import figures

pytestmark = pytest.mark.usefixtures("no_window")


def test_factors_count_beside_what_they_measure() -> None:
    """Guards against a title of gains where the clock saw a loss, and against a count that the clock disturbs."""
    requests = [traces.Request([5, 6], output) for output in (4, 4)]
    one, two = (loop.serve(loop.StaticScheduler(places), requests, places) for places in (1, 2))
    for index, step in enumerate(two.steps, start=1):
        step.end = 4.0 * index  # each step of two sequences took four times as long as one of one
    pictures.factors({"one at a time": one, "static": two})
    title = plt.gcf().get_suptitle()
    assert title == "All of it together: 0.5 times the tokens per second, 2.0 times the tokens per step"
    widths = [[bar.get_width() for bar in ax.patches] for ax in plt.gcf().axes]
    assert widths == [[1.0, 0.5], [1.0, 2.0]]


@pytest.mark.parametrize(
    ("speeds", "title"),
    [
        ({"engine, INT8": 30.0, "engine, float32": 20.0, "vLLM": 10.0}, "engine, INT8: 3.0 times the tokens of vLLM"),
        (
            {"engine, INT8": 10.0, "engine, float32": 20.0, "vLLM": 50.0},
            "vLLM: 2.5 times the tokens of engine, float32",
        ),
    ],
)
def test_the_contest_names_the_fastest(speeds: dict[str, float], title: str) -> None:
    """Guards against a victory of the course's engine that a machine of one's own didn't see."""
    figures.contest({"contest": {name: {"useful_tokens_per_second": speed} for name, speed in speeds.items()}})
    assert plt.gca().get_title(loc="left") == title


def test_the_products_share_is_that_of_the_rows() -> None:
    """Guards against a share that is written down instead of computed."""
    rows = [
        {"weights": kind, "batch": batch, "tokens_per_second": speed, "floor_tokens_per_second": 10.0}
        for kind, batch, speed in (("float32", 1, 8.0), ("float32", 2, 9.0), ("int8", 1, 3.0), ("int8", 2, 5.0))
    ]
    figures.by_batch({"sweep": rows})
    assert plt.gca().get_title(loc="left") == "Matrix products alone take 30% to 90% of a step"
