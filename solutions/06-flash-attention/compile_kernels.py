"""Compile the tuned kernels for GPUs that aren't here, and keep what the compiler says of each candidate.

python solutions/06-flash-attention/compile_kernels.py

Forwards and backwards, heads of 64 and 128, each candidate of `configs.py`; for half precision and a causal mask, the
larger of the two kernels that a mask makes. The JSON, `compiled.json`, is written after each card and says of each with
which Triton, on which machine and when; cards that aren't asked for stay in it as they are.
"""

import argparse
from collections import Counter
from dataclasses import asdict
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

from configs import CANDIDATES, RECORD, Config, candidates

from fridge.attention.compiling import Compiled, Job, compile_all
from fridge.attention.targets import TARGETS, Target
from fridge.workbench import measure, records

KERNELS = Path(__file__).with_name("triton_flash.py")
SIZES = {"queries": "i32", "keys": "i32", "scale": "fp32"}
HALF, SINGLE = "*fp16", "*fp32"
TYPES = {
    "_forward": {**dict.fromkeys(("q", "k", "v", "o"), HALF), "lse": SINGLE, **SIZES},
    "_backward_keys": {
        **dict.fromkeys(("q", "k", "v", "do", "dk", "dv"), HALF),
        **dict.fromkeys(("lse", "d"), SINGLE),
        **SIZES,
    },
    "_backward_queries": {
        **dict.fromkeys(("q", "k", "v", "do", "dq"), HALF),
        **dict.fromkeys(("lse", "d"), SINGLE),
        **SIZES,
    },
}
# A candidate may take so long: a GPU is rented by the minute.
SECONDS = 60
HEAD_DIMS = (64, 128)


def main() -> None:
    """Compile, print a line for each kernel on each card, write the file."""
    parser = argparse.ArgumentParser(
        description="The tuned kernels, compiled for GPUs that aren't here."
    )
    parser.add_argument("--cards", nargs="+", choices=TARGETS, default=list(TARGETS))
    parser.add_argument("--out", type=Path, default=RECORD)
    options = parser.parse_args()
    for card in options.cards:
        rows = []
        for kernel, head_dim in product(CANDIDATES, HEAD_DIMS):
            rows += _rows(kernel, head_dim, TARGETS[card])
            print(_summary(rows, card, kernel, head_dim), flush=True)
        _write(options.out, card, rows)


def job(kernel: str, head_dim: int, config: Config, card: str) -> Job:
    """One of the tuned kernels, as it runs for half precision and a causal mask."""
    constants = {
        "CAUSAL": True,
        "HEAD_DIM": head_dim,
        "BLOCK_Q": config.block_q,
        "BLOCK_K": config.block_k,
    }
    if kernel == "_forward":
        constants["GROUP"] = 1
    return Job(
        str(KERNELS), kernel, TYPES[kernel], constants, card, config.warps, config.stages
    )


def _write(out: Path, card: str, rows: list[dict[str, Any]]) -> None:
    record = records.read(out, {"machines": {}, "rows": []})
    record["machines"][card] = {**measure.machine(), "triton": version("triton")}
    record["rows"] = [row for row in record["rows"] if row["card"] != card] + rows
    records.keep(record, out)


def _rows(kernel: str, head_dim: int, target: Target) -> list[dict[str, Any]]:
    configs = candidates(kernel, target.capability)
    found = compile_all(
        [job(kernel, head_dim, config, target.card) for config in configs], SECONDS
    )
    return [
        _row(kernel, head_dim, target, config, one)
        for config, one in zip(configs, found, strict=True)
    ]


def _row(
    kernel: str, head_dim: int, target: Target, config: Config, found: Compiled
) -> dict[str, Any]:
    which = {
        "kernel": kernel,
        "card": target.card,
        "capability": target.capability,
        "head_dim": head_dim,
    }
    return {**which, **asdict(config), **asdict(found), "trouble": found.trouble(target)}


def _summary(rows: list[dict[str, Any]], card: str, kernel: str, head_dim: int) -> str:
    wanted = {"card": card, "kernel": kernel, "head_dim": head_dim}
    own = [row for row in rows if wanted.items() <= row.items()]
    units = ", ".join(
        f"{n} {unit}"
        for unit, n in Counter(row["instruction"] or "none" for row in own).items()
    )
    left = sum(not row["trouble"] for row in own)
    return (
        f"{card:9} {kernel:18} head {head_dim:3}: {len(own)} candidates, {left} left; {units}"
    )


if __name__ == "__main__":
    main()
