"""Block sizes, warps and stages that the tuned kernel may try, and those that a record of compilations leaves.

`compile_kernels.py` compiles every candidate for GPUs that aren't here and writes `compiled.json`. What doesn't fit into
a card's shared memory, spills registers or takes minutes to compile is not tried there: Triton would spend the time on
a rented GPU, and lose the race anyway.
"""

import json
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

RECORD = Path(__file__).with_name("compiled.json")
RACE_SECONDS = 0.15  # of a candidate, at each length: Triton's autotuner warms up for 25 ms and measures for 100
FEWEST = 3  # that stay where all are in trouble: those that spill least
SMALL_TILE = (
    64 * 32
)  # at most, where no tensor cores are used: each product is written out, and that takes minutes
FIRST_WITH_TENSOR_CORES = (
    80  # the compute capability, times ten; Triton 3 has none for older ones
)


@dataclass(frozen=True, order=True)
class Config:
    """One way to run a kernel."""

    block_q: int
    block_k: int
    warps: int
    stages: int


def _configs(sizes: tuple[tuple[int, int], ...]) -> list[Config]:
    return [
        Config(*size, warps, stages) for size, warps, stages in product(sizes, (4, 8), (2, 3))
    ]


_BACKWARD = _configs(((32, 32), (32, 64), (64, 32), (64, 64), (64, 128), (128, 64)))
CANDIDATES = {
    "_forward": _configs(((32, 32), (64, 32), (64, 64), (128, 32), (128, 64), (128, 128))),
    "_backward_keys": _BACKWARD,
    "_backward_queries": _BACKWARD,
}


def candidates(kernel: str, capability: int) -> list[Config]:
    """What may be compiled for a GPU of that compute capability (80 for 8.0)."""
    all_of_them = CANDIDATES[kernel]
    if capability >= FIRST_WITH_TENSOR_CORES:
        return all_of_them
    return [config for config in all_of_them if config.block_q * config.block_k <= SMALL_TILE]


def left(kernel: str, head_dim: int, capability: int, record: Path = RECORD) -> list[Config]:
    """What is to be tried on a GPU, at least one: without a record for it, all candidates."""
    rows = _rows(record, kernel, head_dim, capability)
    fine = [row for row in rows if not row["trouble"]]
    if not fine:
        fine = sorted(
            (row for row in rows if not row["error"]), key=lambda row: row["spilled"]
        )[:FEWEST]
    return [config_of(row) for row in fine] or candidates(kernel, capability)


def seconds_to_tune(setting: Any, capability: int, done: set[tuple]) -> float:
    """About what trying takes before a row is measured: a compilation for each new kernel, a race for each length.

    Args:
        setting: of the row, as `fridge.attention.bench` has it.
        done: which kernels were compiled before; those of this row are added.
    """
    kernels = ("_backward_keys", "_backward_queries") if setting.backward else ("_forward",)
    total = 0.0
    for kernel in kernels:
        tried = left(kernel, setting.head_dim, capability)
        total += RACE_SECONDS * len(tried)
        if (kernel, setting.head_dim, setting.causal) not in done:
            done.add((kernel, setting.head_dim, setting.causal))
            rows = _rows(RECORD, kernel, setting.head_dim, capability)
            total += sum(row["seconds"] for row in rows if config_of(row) in tried)
    return total


def config_of(row: dict[str, Any]) -> Config:
    """The candidate of a row of the record."""
    return Config(row["block_q"], row["block_k"], row["warps"], row["stages"])


def _rows(record: Path, kernel: str, head_dim: int, capability: int) -> list[dict[str, Any]]:
    wanted = {"kernel": kernel, "head_dim": head_dim, "capability": capability}
    return [row for row in _read(record) if wanted.items() <= row.items()]


@cache
def _read(record: Path) -> list[dict[str, Any]]:
    return json.loads(record.read_text(encoding="utf-8"))["rows"] if record.exists() else []
