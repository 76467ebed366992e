"""Many measurements of attention: lengths, sizes of heads, masks, directions; the most telling first, each one kept.

The setting is the papers': 16384 positions in all and 2048 features, whatever the length and the size of a head (Dao
2023, section 4.1). A sweep may end at any row, for the time is up or the machine was taken away: what it has so far
compares all ways at the lengths that it came to.
"""

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fridge.attention import bench
from fridge.attention.bench import Attend, Setting
from fridge.memory.cards import Card
from fridge.workbench import measure as clock

POSITIONS, FEATURES = 16384, 2048  # batch x length, heads x head_dim
LENGTHS = (4096, 1024, 16384, 512, 2048, 8192)  # the middle first, then both ends
HEAD_DIMS = (128, 64)
PASSES = ((False, False), (True, False), (False, True), (True, True))  # causal, backward
KEPT = Path(__file__).parent / "measurements"  # a file for each GPU
CALLS = sum(bench.REPEATS["cuda"]) + 1  # of a measurement: its memory is one more
_TABLES = {"forward": 3, "backward": 5}  # of scores, at once in memory where the formula is computed as it stands


@dataclass(frozen=True)
class Row:
    """One measurement of a sweep, before it is taken: which way, at which length, in which setting."""

    name: str
    length: int
    setting: Setting


def plan(
    names: Iterable[str],
    device: str,
    lengths: Iterable[int] = LENGTHS,
    head_dims: Iterable[int] = HEAD_DIMS,
    dtype: torch.dtype | None = None,
    positions: int = POSITIONS,
    features: int = FEATURES,
) -> list[Row]:
    """All rows, in order: for each length, pass and size of a head all ways follow one another.

    Args:
        names: of the ways; lengths, head_dims: the most telling first.
        dtype: `bench.best_dtype(device)` if not given.
        positions, features: batch times length, heads times head_dim.
    """
    base = Setting(1, 1, dtype or bench.best_dtype(device), device)
    return [
        Row(name, length, _setting(base, length, head_dim, causal, backward, positions, features))
        for causal, backward in PASSES
        for head_dim in head_dims
        for length in lengths
        for name in names
    ]


def sweep(
    rows: list[Row],
    ways: dict[str, Attend],
    seconds: float = float("inf"),
    report: Callable[[str], None] = lambda line: None,
    keep: Callable[[dict[str, Any]], None] = lambda results: None,
) -> dict[str, Any]:
    """Take the measurements of a plan, one after the other, until they are all there or the time is up.

    Args:
        rows: of one device and dtype.
        ways: what to call, by the names of the rows.
        seconds: after which no further one begins.
        report: is told each measurement in words.
        keep: gets all results so far, after each.

    Returns:
        {"machine", "dtype", "matmul_tflops", "planned", "rows"}, ready for JSON.
    """
    setting, end = rows[0].setting, time.monotonic() + seconds
    results: dict[str, Any] = {
        "machine": {**clock.machine(), **_versions()},
        "dtype": str(setting.dtype).removeprefix("torch."),
        "matmul_tflops": bench.matmul_tflops(setting.device, setting.dtype),
        "planned": len(rows),
        "rows": [],
    }
    for row in rows:
        if time.monotonic() > end:
            break
        results["rows"].append(bench.measure(row.name, ways[row.name], row.length, row.setting))
        report(in_words(row, results["rows"][-1]))
        keep(results)
    return results


def kept(folder: Path = KEPT) -> list[dict[str, Any]]:
    """The sweeps that are kept in a folder, the library's own if not said otherwise; none if it isn't there."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]


def in_words(row: Row, measured: dict[str, Any]) -> str:
    """A line for a row and what came of it."""
    return f"{heading(row)}: {bench.in_words(measured)}"


def heading(row: Row) -> str:
    """What a row measures."""
    setting = row.setting
    way = ("backward" if setting.backward else "forward") + (", causal" if setting.causal else "")
    return f"head_dim {setting.head_dim:3}, {way:16}, {row.length:6}, {row.name:22}"


def seconds_at_best(row: Row, card: Card) -> float | None:
    """What a row takes on a card that isn't here, by its bytes and its operations; None where memory can't suffice.

    A lower bound of the calls alone: no compilation, no start, and both at the maker's peak.
    """
    setting, naive = row.setting, row.name == "naive" or "math" in row.name
    tables = setting.batch * setting.heads * row.length**2 * setting.dtype.itemsize if naive else 0
    if tables * _TABLES["backward" if setting.backward else "forward"] > card.memory:
        return None
    inputs = 4 * setting.batch * setting.heads * row.length * setting.head_dim * setting.dtype.itemsize
    moved = (4 * tables + inputs) * (2.5 if setting.backward else 1)
    return CALLS * max(moved / card.bandwidth, bench.operations(row.length, setting) / card.flops)


def _setting(
    base: Setting, length: int, head_dim: int, causal: bool, backward: bool, positions: int, features: int
) -> Setting:
    heads, batch = max(1, features // head_dim), max(1, positions // length)
    return Setting(heads, head_dim, base.dtype, base.device, causal, backward, batch)


def _versions() -> dict[str, str]:
    from fridge.attention import kernels

    found = {"triton": kernels.triton.__version__} if kernels.INSTALLED else {}
    if torch.cuda.is_available():
        found["cudnn"] = str(torch.backends.cudnn.version())
        found["capability"] = ".".join(map(str, torch.cuda.get_device_capability()))
    return found
