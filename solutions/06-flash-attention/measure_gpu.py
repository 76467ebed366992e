"""Measure attention on this machine's GPU and keep the raw figures, which the notebook plots.

python solutions/06-flash-attention/measure_gpu.py

Naive attention, SDPA's back ends and the tuned Triton kernel of this folder; forwards and backwards, causal and not, heads
of 64 and 128, 512 to 16384 positions. The JSON says on which GPU, with which versions and when.
"""

import argparse
import json
import re
from pathlib import Path

import torch
from triton_flash import attention

from fridge.attention import bench, kernels


def main() -> None:
    """Measure, print each line, write the file."""
    parser = argparse.ArgumentParser(description="Attention on this GPU, by length.")
    parser.add_argument(
        "--device", default="cuda", choices=["cuda", "cpu"], help="cpu: to try the program out"
    )
    parser.add_argument(
        "--lengths", type=int, nargs="+", default=[512, 1024, 2048, 4096, 8192, 16384]
    )
    parser.add_argument("--head-dims", type=int, nargs="+", default=[64, 128])
    parser.add_argument(
        "--positions", type=int, default=bench.POSITIONS, help="batch times length"
    )
    parser.add_argument(
        "--features", type=int, default=bench.FEATURES, help="heads times head_dim"
    )
    parser.add_argument(
        "--out", type=Path, help="default: <GPU>.json in course/fridge/attention/measurements/"
    )
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.exit(
            1,
            "There is no GPU that torch can use here. To try the program out: --device cpu --lengths 32\n",
        )
    results = bench.sweep(
        options.device,
        options.lengths,
        options.head_dims,
        extra={"Triton (tuned)": attention} if kernels.INSTALLED else {},
        positions=options.positions,
        features=options.features,
        report=lambda line: print(line, flush=True),
    )
    print(f"a large matrix product: {results['matmul_tflops']:.1f} TFLOP/s")
    if (
        "gpu" in results["machine"] or options.out
    ):  # what a CPU did is no measurement of a GPU, and isn't kept
        out = options.out or bench.KEPT / f"{_slug(results['machine']['gpu'])}.json"
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        print(out)


def _slug(name: str) -> str:
    return re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")


if __name__ == "__main__":
    main()
