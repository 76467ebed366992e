"""`python -m fridge.serving.bench.api`: the API servers under the same arrivals, at growing rates; raw figures as JSON.

Each rate has requests of its own, the same for all servers, so that no prompt has been seen before. A server's largest
rate is the largest at which nine in ten requests meet an objective.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from fridge import models
from fridge.serving.bench import peers
from fridge.serving.bench.api_servers import CONTESTANTS, Contestant, Running, running, there
from fridge.serving.bench.latencies import OBJECTIVES, kept, summary, written
from fridge.serving.bench.load import poisson_arrivals, run
from fridge.serving.traces import Request, serving_trace
from fridge.workbench import measure
from fridge.workbench.terminal import allow_any_letter

RATES = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)  # requests in a second
COUNT = 60  # requests at each rate
ENOUGH = 0.9  # of the requests


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; return the exit code."""
    allow_any_letter()
    options = _parser().parse_args(arguments)
    if options.install_vllm:
        peers.install(options.vllm)
    threads = torch.get_num_threads()
    results: dict = {
        "machine": measure.machine() | {"threads": threads},
        "note": options.note,
        "model": models.name(),
        "objectives": [asdict(one) for one in OBJECTIVES],
        "requests_per_rate": options.count,
        "servers": {},
    }
    chosen = [one for one in CONTESTANTS if not options.only or options.only in one.name]
    for contestant in chosen:
        if not there(contestant, options.vllm):
            print(f"{contestant.name}: left out, for it is not installed", file=sys.stderr)
            continue
        results["servers"][contestant.name] = _measured(contestant, options, threads)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(written(results), encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m fridge.serving.bench.api", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("api.json"), help="where the raw figures go")
    parser.add_argument("--vllm", type=Path, default=Path(".venv-vllm"), help="vLLM's own environment, if there is one")
    parser.add_argument("--install-vllm", action="store_true", help="make it first: 4 GB of disk, a few minutes")
    parser.add_argument("--rates", type=float, nargs="+", default=list(RATES), help="requests in a second")
    parser.add_argument("--count", type=int, default=COUNT, help="requests at each rate")
    parser.add_argument("--only", default="", help="servers whose name holds this")
    parser.add_argument("--note", default="", help="a sentence for whoever reads the figures: what else ran, say")
    return parser


def _measured(contestant: Contestant, options: argparse.Namespace, threads: int) -> dict:
    with (
        tempfile.TemporaryDirectory() as folder,
        running(contestant, threads, options.vllm, Path(folder) / "log") as server,
    ):
        _at(server, 50.0, [Request([5 + number, 6, 7], 4) for number in range(4)], seed=0)  # warm
        rates = {}
        for place, rate in enumerate(options.rates):
            requests = serving_trace(options.count, seed=1000 + place)
            rates[str(rate)] = _at(server, rate, requests, seed=place)
            print(_row(contestant.name, rate, rates[str(rate)]), flush=True)
    return {"version": server.version, "rates": rates, "largest_rate": largest_rates(rates)}


def _at(server: Running, rate: float, requests: Sequence[Request], seed: int) -> dict:
    records = run(server.url, server.model, requests, poisson_arrivals(rate, len(requests), seed))
    return summary(records) | {"records": list(map(kept, records))}


def largest_rates(rates: dict[str, dict]) -> dict[str, float | None]:
    """The largest rate for each objective, none of the smaller ones having failed it; None if the smallest did."""
    found: dict[str, float | None] = {}
    for objective in OBJECTIVES:
        found[objective.name] = None
        for rate, result in sorted(rates.items(), key=lambda one: float(one[0])):
            if result["share_good"][objective.name] < ENOUGH:
                break
            found[objective.name] = float(rate)
    return found


def _row(name: str, rate: float, result: dict) -> str:
    shown = [f"{name:26}{rate:6.2f}/s"]
    for kind in ("ttft", "tpot"):
        values = result[kind] or {}
        shown.append(f"{kind.upper()} " + "/".join(f"{1000 * value:.0f}" for value in values.values()) + " ms")
    shown.append(", ".join(f"{one} {value:.2f}/s" for one, value in result["goodput"].items()))
    return "  ".join(shown) + (f"  {result['failed']} failed" if result["failed"] else "")


if __name__ == "__main__":
    sys.exit(main())
