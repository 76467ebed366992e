"""Measuring: what is counted, and what isn't."""

import json
import time

import pytest
import torch

from fridge.workbench import measure

MB = 1_000_000


def test_median_of_the_repeats_without_the_warm_up() -> None:
    """Guards against a mean, which one slow step spoils, and against a first call that is counted. The slow calls
    take ten times the quick one and the bound lies between: a busy machine would have to lose 80 ms three times."""
    pauses = iter([0.5, 0.3, 0.001, 0.001, 0.001, 0.3])
    taken = measure.seconds(lambda: time.sleep(next(pauses)), repeats=5, warmup=1)
    assert 0.001 <= taken < 0.08
    assert next(pauses, None) is None


def test_calls_as_often_as_asked() -> None:
    """Guards against repeats that are ignored for calls that cost money."""
    calls: list[int] = []
    measure.seconds(lambda: calls.append(1), repeats=3, warmup=2)
    assert len(calls) == 5


@pytest.mark.skipif(torch.cuda.is_available(), reason="counts CUDA's memory where there is a GPU")
def test_peak_memory_sees_what_is_freed_before_the_end() -> None:
    """Guards against the difference before and after, which is 0 for what a call frees."""

    def call() -> None:
        block = torch.ones(200 * MB // 4)
        time.sleep(0.05)  # many samples, even where the sampler waits for its turn
        del block

    assert abs(measure.peak_memory(call) - 200 * MB) < 40 * MB


@pytest.mark.skipif(torch.cuda.is_available(), reason="counts CUDA's memory where there is a GPU")
def test_peak_memory_sees_what_stays() -> None:
    """Guards against a sampler that stops before the call's last allocation, and counts what was there before."""
    before, kept = torch.ones(100 * MB // 4), []
    assert abs(measure.peak_memory(lambda: kept.append(torch.ones(200 * MB // 4))) - 200 * MB) < 40 * MB
    assert measure.peak_memory(lambda: None) < 40 * MB
    assert before.nbytes == 100 * MB


def test_peak_memory_stops_sampling_after_an_error() -> None:
    """Guards against a thread that outlives its measurement and keeps a notebook's core busy."""
    import threading

    def fail() -> None:
        raise ValueError("learner's")

    before = threading.active_count()
    with pytest.raises(ValueError, match="learner's"):
        measure.peak_memory(fail)
    assert threading.active_count() == before


def test_machine_can_be_kept_beside_a_number() -> None:
    """Guards against facts that JSON can't hold, and against a measurement nobody can place."""
    facts = json.loads(json.dumps(measure.machine()))
    assert facts == measure.machine()
    assert {"cpu", "cores", "memory_gb", "python", "torch", "date"} <= facts.keys()
    assert all(facts.values())
