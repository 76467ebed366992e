"""The contest between engines, on three short requests instead of the whole trace."""

import dataclasses
import json
import sys
from pathlib import Path

import pytest

from fridge.serving.bench import __main__ as bench
from fridge.serving.bench import contest
from fridge.serving.bench.sweep import sweep
from fridge.serving.traces import Request, serving_trace
from fridge.testing import tiny_llama
from fridge.workbench import environments

SHORT = [Request(request.prompt[:6], 4) for request in serving_trace()[:3]]
INSTALLED = [one for one in contest.CONTESTANTS if one.needs != "vllm"]
AGAIN = ("llama.cpp Q4_1, 32 slots", "transformers, batches of 8")  # another's program, with another number


@pytest.fixture(autouse=True)
def _short_trace(monkeypatch):
    monkeypatch.setattr(contest, "serving_trace", lambda: SHORT)


@pytest.mark.parametrize(
    "contestant",
    [pytest.param(one, id=one.name, marks=[pytest.mark.long] if one.name in AGAIN else []) for one in INSTALLED],
)
def test_every_contestant_serves_the_trace(contestant):
    """Guards against a contestant that does another amount of work than the others."""
    if contestant.needs:
        pytest.importorskip(contestant.needs)
    result = contest.run(dataclasses.replace(contestant, repeats=1), 1, Path("nowhere"))
    assert len(result["seconds"]) == 1
    if contestant.script != "llama_cpp":  # its script counts for itself
        assert [len(reply) for reply in result["replies"]] == [4, 4, 4]
    if contestant.options.get("weights") != "int8" and contestant.script != "llama_cpp":
        assert contest.check_greedy(result["replies"])["wrong"] == 0


def test_a_wrong_token_is_counted():
    """Guards against a check that calls everything a near tie."""
    counts = contest.check_greedy([[5, 6, 7, 8]] * 3)
    assert counts["wrong"] == counts["tokens"] == 12


def test_a_peer_that_is_not_there_is_left_out(tmp_path):
    """Guards against a crash, or half an environment taken for a whole one."""
    vllm = next(one for one in contest.CONTESTANTS if one.needs == "vllm")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").touch()
    assert environments.python_of(tmp_path) is None
    assert contest.run(vllm, 1, tmp_path) is None


def test_the_report_says_ratios_and_keeps_raw_figures(tmp_path, monkeypatch, capsys):
    """Guards against a table without the JSON behind it."""
    chosen = [INSTALLED[0], INSTALLED[-1]]
    monkeypatch.setattr(bench, "CONTESTANTS", [dataclasses.replace(one, repeats=1) for one in chosen])
    monkeypatch.setattr(bench, "serving_trace", lambda: SHORT)
    monkeypatch.setattr(bench, "sweep", lambda model: sweep(tiny_llama()))
    monkeypatch.setattr(sys, "argv", ["serving_bench", "--out", str(tmp_path / "serving.json")])
    assert bench.main() == 0
    results = json.loads((tmp_path / "serving.json").read_text())
    assert set(results["contest"]) == {one.name for one in chosen}
    assert results["machine"]["date"]
    assert "x transformers, batch of 32" in capsys.readouterr().out


def test_the_sweep_counts_blocks_and_tokens():
    """Guards against a formula that is compared with itself: blocks are whole, tokens are not."""
    rows = sweep(tiny_llama())
    assert {row["batch"] for row in rows} == {1, 2, 4, 8, 16, 32, 64}
    assert all(row["formula_bytes"] <= row["kv_bytes"] < 1.5 * row["formula_bytes"] for row in rows)
