"""Measuring time and memory the same way everywhere: warm up, repeat, take the median, wait for the GPU.

`fridge.workbench.busy` watches meanwhile what else uses the processors.
"""

import datetime
import gc
import os
import platform
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil
import torch

from fridge.workbench import busy


@busy.watched()
def seconds(call: Callable[[], object], repeats: int = 5, warmup: int = 1) -> float:
    """Median wall time of `call()` in seconds, after `warmup` unmeasured calls. Waits for CUDA's queue."""
    for _ in range(warmup):
        call()
    times = []
    for _ in range(repeats):
        _synchronize()
        start = time.perf_counter()
        call()
        _synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


@dataclass
class Stopwatch:
    """Wall time of the block below `with Stopwatch() as watch:`, in `watch.seconds` when it has ended."""

    seconds: float = 0.0

    def __enter__(self) -> "Stopwatch":
        busy.look()
        _synchronize()
        self._start = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        _synchronize()
        self.seconds = time.perf_counter() - self._start
        busy.look()


def peak_memory(call: Callable[[], object]) -> int:
    """Bytes that `call()` needed at its peak beyond what was in use before.

    On CUDA the allocator's own count; on a CPU the process's resident memory, sampled every millisecond, so that
    allocations which live shorter, or reuse freed memory, are missed.
    """
    gc.collect()
    if torch.cuda.is_available():
        _synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        _synchronize()
        return torch.cuda.max_memory_allocated() - before
    before = peak = resident_memory()
    done = threading.Event()

    def sample() -> None:
        nonlocal peak
        while not done.wait(0.001):
            peak = max(peak, resident_memory())

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        call()
        peak = max(peak, resident_memory())
    finally:
        done.set()
        sampler.join()
    return peak - before


def resident_memory() -> int:
    """Bytes of physical memory that this process holds now."""
    return psutil.Process().memory_info().rss


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> dict[str, str | int | float]:
    """What a measurement was taken on: written beside every number that is kept."""
    facts: dict[str, str | int | float] = {
        "cpu": _cpu_name(),
        "cores": processors(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "date": datetime.date.today().isoformat(),
    }
    if torch.cuda.is_available():
        facts["gpu"] = torch.cuda.get_device_name()
        facts["cuda"] = torch.version.cuda or ""
    return facts


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123 - a kernel file, read line by line
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
