"""Measure attention on this machine's GPU and keep the raw figures, which the notebook plots.

python solutions/06-flash-attention/measure_gpu.py                 # ten minutes at most
python solutions/06-flash-attention/measure_gpu.py --dry T4        # what it would do on a T4, without one

Naive attention, SDPA's back ends and the tuned Triton kernel of this folder; forwards and backwards, causal and not, heads
of 64 and 128, 512 to 16384 positions. The rows that tell most come first, and the JSON, which says on which GPU, with which
versions and when, is written after each: a rented machine that is taken away leaves what was measured.
"""

import argparse
import re
from pathlib import Path
from typing import Any

import torch
from configs import seconds_to_tune
from triton_flash import attention

from fridge.attention import bench, kernels, sweeps
from fridge.attention.targets import TARGETS
from fridge.memory.cards import CARDS
from fridge.workbench import records

TUNED = "Triton (tuned)"


def main() -> None:
    """Measure, print each line, write the file after it; or say what would be done."""
    options = _options()
    device = "cuda" if options.dry else options.device
    ways = {**bench.contestants(device), **({TUNED: attention} if kernels.INSTALLED else {})}
    sizes = {"positions": options.positions, "features": options.features}
    dtype = torch.float16 if options.dry else bench.best_dtype(device)
    rows = sweeps.plan(ways, device, options.lengths, options.head_dims, dtype, **sizes)
    if options.dry:
        _dry(rows, options.dry, 60 * options.minutes)
        return
    results = sweeps.sweep(
        rows,
        ways,
        60 * options.minutes,
        report=lambda line: print(line, flush=True),
        keep=lambda results: _keep(results, options.out),
    )
    print(f"{len(results['rows'])} of {results['planned']} rows")
    print(f"a large matrix product: {results['matmul_tflops']:.1f} TFLOP/s")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Attention on this GPU, by length.")
    parser.add_argument(
        "--device", default="cuda", choices=["cuda", "cpu"], help="cpu: to try the program out"
    )
    parser.add_argument(
        "--minutes", type=float, default=10, help="after which no row begins; default 10"
    )
    parser.add_argument(
        "--dry",
        choices=TARGETS,
        metavar="CARD",
        help=f"only say what it would do: {', '.join(TARGETS)}",
    )
    parser.add_argument("--lengths", type=int, nargs="+", default=sweeps.LENGTHS)
    parser.add_argument("--head-dims", type=int, nargs="+", default=sweeps.HEAD_DIMS)
    parser.add_argument(
        "--positions", type=int, default=sweeps.POSITIONS, help="batch times length"
    )
    parser.add_argument(
        "--features", type=int, default=sweeps.FEATURES, help="heads times head_dim"
    )
    parser.add_argument(
        "--out", type=Path, help="default: <GPU>.json in course/fridge/attention/measurements/"
    )
    options = parser.parse_args()
    if not options.dry and options.device == "cuda" and not torch.cuda.is_available():
        parser.exit(
            1,
            "There is no GPU that torch can use here. What it would do on one: --dry A100-80. "
            "To try the program out: --device cpu --lengths 32\n",
        )
    return options


def _keep(results: dict[str, Any], out: Path | None) -> None:
    # What a CPU did is no measurement of a GPU, and is kept only where it was asked for.
    gpu = results["machine"].get("gpu")
    if not gpu and not out:
        return
    path = out or sweeps.KEPT / f"{re.sub('[^a-z0-9]+', '-', gpu.lower()).strip('-')}.json"
    records.keep(results, path)


def _dry(rows: list[sweeps.Row], card: str, seconds: float) -> None:
    spent, tuned, ended = 0.0, set(), False
    print(f"On {card}, at best: the calls by unit 01's peaks, the tuning by compiled.json.")
    for number, row in enumerate(rows, 1):
        calls = sweeps.seconds_at_best(row, CARDS[card])
        tuning = (
            seconds_to_tune(row.setting, TARGETS[card].capability, tuned)
            if row.name == TUNED
            else 0.0
        )
        if not ended and spent > seconds:
            ended = True
            print(
                f"-- {seconds / 60:g} minutes: {number - 1} of {len(rows)} rows are there at best --"
            )
        spent += (calls or 0.0) + tuning
        told = "out of memory, as predicted" if calls is None else f"{calls:6.2f} s"
        print(
            f"{number:3} {sweeps.heading(row)}: {told}{f', tuning {tuning:.0f} s' if tuning else ''}"
        )
    print(f"all {len(rows)} rows: {spent / 60:.1f} minutes at best")


if __name__ == "__main__":
    main()
