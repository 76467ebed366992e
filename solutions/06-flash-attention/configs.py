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

from fridge import attention

# In the library: what lies in a unit's folder goes into its handout.
RECORD = Path(attention.__file__).with_name("compiled.json")
# Of a candidate, at each length: Triton's autotuner warms up for 25 ms and measures for 100.
RACE_SECONDS = 0.15
# That stay where all are in trouble: those that spill least.
FEWEST = 3
# At most, where no tensor cores are used: each product is written out there, and that takes minutes.
SMALL_TILE = 64 * 32
# The compute capability, times ten. Triton 3 uses no tensor cores of older ones.
FIRST_WITH_TENSOR_CORES = 80


@dataclass(frozen=True, order=True)
class Config:
    """One way to run a kernel."""

    block_q: int
    block_k: int
    warps: int
    stages: int


def _configs(*tiles: tuple[int, int, int]) -> list[Config]:
    # Each (block_q, block_k, warps) with two and with three loads on the way.
    return [Config(*tile, stages) for tile, stages in product(tiles, (2, 3))]


# Few warps for small tiles, many for large ones, and both in between: a warp has 32 threads, and 255 registers in each.
_BACKWARD = _configs(
    (32, 32, 4), (32, 64, 4), (64, 32, 4), (64, 64, 4), (64, 64, 8), (64, 128, 8), (128, 64, 8)
)
CANDIDATES = {
    "_forward": _configs(
        (32, 32, 4),
        (64, 32, 4),
        (64, 64, 4),
        (64, 64, 8),
        (128, 32, 4),
        (128, 32, 8),
        (128, 64, 4),
        (128, 64, 8),
        (128, 128, 8),
    ),
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
        only_spill = [row for row in rows if row["trouble"].startswith("spills")]
        fine = sorted(only_spill, key=lambda row: row["spilled"])[:FEWEST]
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
