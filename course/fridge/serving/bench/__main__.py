"""`python -m fridge.serving.bench`: the contest and the sweep, a table on the screen, raw figures in a JSON file."""

import argparse
import json
import statistics
import sys
from importlib.metadata import version
from pathlib import Path

import torch

from fridge import models
from fridge.serving.bench import peers
from fridge.serving.bench.contest import CONTESTANTS, NEAR_TIE, check_greedy, run
from fridge.serving.bench.sweep import sweep
from fridge.serving.traces import serving_trace
from fridge.workbench import measure
from fridge.workbench.terminal import allow_any_letter


def main() -> int:
    """Run it; return the exit code: 1 if a token of the float32 engine is wrong."""
    allow_any_letter()
    parser = argparse.ArgumentParser(prog="python -m fridge.serving.bench", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("engine.json"), help="where the raw figures go")
    parser.add_argument("--vllm", type=Path, default=Path(".venv-vllm"), help="vLLM's own environment, if there is one")
    parser.add_argument("--install-vllm", action="store_true", help="make it first: 4 GB of disk, a few minutes")
    options = parser.parse_args()
    if options.install_vllm:
        peers.install(options.vllm)
    threads = torch.get_num_threads()
    useful = sum(request.output for request in serving_trace())
    results: dict = {
        "machine": measure.machine() | {"threads": threads, "transformers": version("transformers")},
        "model": models.name(),
        "useful_tokens": useful,
        "prompt_tokens": sum(len(request.prompt) for request in serving_trace()),
        "contest": {},
    }
    for contestant in CONTESTANTS:
        result = run(contestant, threads, options.vllm)
        if result is None:
            print(f"{contestant.name}: left out, for {contestant.needs} is not installed", file=sys.stderr)
            continue
        replies = result.pop("replies")
        result["useful_tokens_per_second"] = useful / statistics.median(result["seconds"])
        if replies:
            result["against_transformers_greedy"] = check_greedy(replies)
        results["contest"][contestant.name] = result
        print(_row(contestant.name, result), flush=True)
    print("\n".join(_ratios(results["contest"])), flush=True)
    results["near_tie"] = NEAR_TIE
    results["sweep"] = sweep(models.load())
    print(_sweep_table(results["sweep"]))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return int(results["contest"]["engine, float32"]["against_transformers_greedy"]["wrong"] > 0)


def _row(name: str, result: dict) -> str:
    runs = ", ".join(f"{seconds:.1f}" for seconds in result["seconds"])
    row = f"{name:28}{result['useful_tokens_per_second']:7.1f} useful tokens/s  ({runs} s; {result['version']})"
    if counts := result.get("against_transformers_greedy"):
        row += f"; {counts['same']} of {counts['tokens']} tokens as transformers', {counts['near_ties']} near ties"
    return row


def _ratios(contest: dict) -> list[str]:
    speed = {name: result["useful_tokens_per_second"] for name, result in contest.items()}
    lines = []
    others = [name for name in speed if not name.startswith("engine")]
    for ours in (name for name in speed if name.startswith("engine")):
        lines.append(f"{ours}: " + "; ".join(f"{speed[ours] / speed[name]:.2f} x {name}" for name in others))
    return lines


def _sweep_table(rows: list[dict]) -> str:
    lines = [f"{'weights':9}{'batch':>6}{'tokens/s':>10}{'floor':>9}{'share':>7}{'KV MB':>8}{'formula':>9}"]
    for row in rows:
        share = row["tokens_per_second"] / row["floor_tokens_per_second"]
        lines.append(
            f"{row['weights']:9}{row['batch']:>6}{row['tokens_per_second']:>10.0f}{row['floor_tokens_per_second']:>9.0f}"
            f"{share:>7.0%}{row['kv_bytes'] / 1e6:>8.1f}{row['formula_bytes'] / 1e6:>9.1f}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
