"""The load generator and the soak: their own arithmetic, and both against a tiny server."""

import argparse
import asyncio
import json
import os
import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from tiny_server import NAME, GatedEngine, metric, served, tiny_engine, until

from fridge.serving import api
from fridge.serving.bench import api as bench
from fridge.serving.bench import soak
from fridge.serving.bench.api_servers import Running
from fridge.serving.bench.latencies import Objective, kept, percentiles, summary, told, written
from fridge.serving.bench.load import Record, poisson_arrivals, run
from fridge.serving.traces import Request

SMALL = [Request([1 + number % 60, 2, 3], 1 + number % 7) for number in range(30)]


def record(scheduled, arrivals, tokens, failure=""):
    return Record(scheduled, tokens, scheduled + 0.5, arrivals, tokens, arrivals[-1] if arrivals else 9.0, failure)


def test_latencies_count_from_when_a_request_should_have_gone():
    """Guards against coordinated omission, and against a time per token that is divided by one token too many."""
    one = record(10.0, [12.0, 12.5, 13.0], 5)
    assert (one.ttft, one.tpot) == (2.0, 0.25)
    assert record(1.0, [2.0], 1).tpot is None


def test_goodput_counts_failures_against_the_server():
    """Guards against a goodput that rises because the slow ones have failed, and one-token replies without a pace."""
    strict = Objective("x", ttft=1.0, tpot=0.1)
    records = [record(0, [1.0, 1.05], 2), record(0, [1.0], 1), record(0, [1.1], 1), record(0, [0.5, 0.8], 2)]
    assert [strict.met(one) for one in [*records, record(0, [], 0, "refused")]] == [True, True, False, False, False]
    found = summary([*records, record(0, [], 0, "refused")])
    assert (found["failed"], found["failures"], found["seconds"]) == (1, ["refused"], 9.0)
    assert found["share_good"]["brisk"] == 2 / 5
    assert found["goodput"]["brisk"] == pytest.approx(2 / 9)


def test_a_kept_record_is_what_the_exercises_take():
    """Guards against a token without a time, and against a file that nobody can scroll through: a line a request."""
    entries = [kept(record(1.0, [2.0, 2.01, 2.5], 4)), kept(record(1.0, [], 0, "Error: {x}"))]
    assert told(entries[0]) == {"scheduled": 1.0, "sent": 1.5, "tokens": [2.0, 2.01, 2.5, 2.5], "finished": True}
    assert told(entries[1]) == {"scheduled": 1.0, "sent": 1.5, "tokens": [], "finished": False}
    text = written({"a": {"records": entries[:1] * 3}})
    assert json.loads(text) == {"a": {"records": entries[:1] * 3}}
    assert len(text.splitlines()) == 9


def test_percentiles_are_values_that_occurred():
    """Guards against percentiles between two values, and an index beyond the last."""
    assert percentiles(range(1, 101)) == {"p50": 50, "p95": 95, "p99": 99}
    assert percentiles([7.0]) == {"p50": 7.0, "p95": 7.0, "p99": 7.0}
    assert percentiles([]) is None


def test_arrivals_are_poisson():
    """Guards against regular gaps: those of a Poisson process are as spread as they are long. The seed is fixed."""
    times = poisson_arrivals(4.0, 20_000, seed=1)
    gaps = [later - earlier for earlier, later in zip([0.0, *times], times, strict=False)]
    mean = sum(gaps) / len(gaps)
    spread = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert mean == pytest.approx(0.25, rel=0.03)
    assert spread == pytest.approx(mean, rel=0.03)
    assert poisson_arrivals(4.0, 5, seed=1) == times[:5] != poisson_arrivals(4.0, 5, seed=2)


def test_an_open_loop_does_not_wait_for_the_server():
    """Guards against a client that asks only when it has been answered: all ask before anybody is answered."""
    engine = tiny_engine(GatedEngine)
    with served(engine) as url, ThreadPoolExecutor(1) as pool:
        asking = pool.submit(run, url, NAME, SMALL, [0.0] * len(SMALL))
        # The first step waits for us; whoever asks meanwhile is counted by the server as being answered.
        until(lambda: metric(url, "fridge_requests_active") == len(SMALL))
        assert engine.taken == 0
        engine.open()
        records = asking.result()
    assert [one.failure for one in records] == [""] * len(SMALL)
    assert [one.tokens for one in records] == [request.output for request in SMALL]
    assert all(one.scheduled <= one.sent <= one.arrivals[0] <= one.arrivals[-1] <= one.ended for one in records)


def test_what_fails_is_told():
    """Guards against a run that looks good because half of it was refused."""
    with served() as url:
        records = run(url, NAME, [Request([99], 3), Request([1], 3)], [0.0, 0.0])
        assert records[0].failure.startswith("ValueError: 400")
        assert records[1].failure == ""
    [gone] = run(url, NAME, [Request([1], 3)], [0.0])
    assert gone.failure.startswith("ConnectionRefusedError")


def test_the_largest_rate_has_no_failed_one_below_it():
    """Guards against a lucky rate above one that failed."""
    rates = {str(rate): {"share_good": {"reading": share, "brisk": 0.1}} for rate, share in ((0.5, 1.0), (2, 0.95))}
    rates |= {"10": {"share_good": {"reading": 0.5, "brisk": 1}}, "12": {"share_good": {"reading": 1, "brisk": 1}}}
    assert bench.largest_rates(rates) == {"reading": 2.0, "brisk": None}


@pytest.mark.long
@pytest.mark.parametrize("name", ["INT8", "8 slots"])
def test_the_report_keeps_raw_figures(name, tmp_path, capsys):
    """Guards against a contestant that doesn't start, and a table without the JSON behind it."""
    if "slots" in name:
        pytest.importorskip("xllamacpp")
    out = tmp_path / "api.json"
    assert bench.main(["--only", name, "--rates", "2", "--count", "3", "--out", str(out), "--note", "a test"]) == 0
    [server] = json.loads(out.read_text())["servers"].values()
    assert len(server["rates"]["2.0"]["records"]) == 3
    assert server["rates"]["2.0"]["failed"] == 0
    assert "TTFT" in capsys.readouterr().out


def test_a_soak_in_small(monkeypatch):
    """Guards against a soak whose clients don't do what they are called for, and against one that sees no leak."""
    monkeypatch.setattr(soak, "serving_trace", lambda count, seed: SMALL)
    monkeypatch.setattr(soak, "CROWD", 20)
    with served(limits=api.Limits(head_seconds=1.0)) as url:
        client = soak._Client(Running(url, NAME, "", os.getpid()), random.Random(0))

        async def all_kinds():
            for kind in soak.KINDS:
                await client.one(kind)

        asyncio.run(all_kinds())
        assert client.wrong == []
        assert {kind: list(outcomes) for kind, outcomes in client.outcomes.items()} == {
            "stream": ["complete"],
            "whole": ["complete"],
            "slow": ["complete"],
            "hang up": [next(iter(client.outcomes["hang up"]))],
            "nonsense": ["refused with 400"],
            "too large": ["refused with 413"],
            "half a request": ["closed by the server"],
        }
        options = argparse.Namespace(minutes=0.01, rate=30.0, seed=3)
        results = asyncio.run(soak._soak(Running(url, NAME, "", os.getpid()), options))
        assert results["outcomes"]["short"] == {"complete": 20}
        assert results["state"] | {"preemptions": 0} == {
            "blocks": 256,
            "free": 256,
            "waiting": 0,
            "preemptions": 0,
            "running": 0,
        }
    growing = [{"resident_mb": 100.0 + 10 * place, "threads": 5, "files": 9 + place} for place in range(30)]
    found = soak._findings(client, growing, results["state"] | {"free": 250})
    assert [one.split()[0] for one in found] == ["6", "memory", "files:"]
