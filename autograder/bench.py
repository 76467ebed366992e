"""`autograder bench`: submissions per minute of `nbgrader autograde`, with our execution step and with nbgrader's own.

The same notebooks, the same machine, one process each, one after the other. Two class sizes give the cost of one more
submission without the start; the cells' own time is that of running them in a warm process without any wall.
"""

import datetime
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import psutil

from autograder.build import build
from autograder.children import in_child
from autograder.course import CourseError, Unit, find_units
from autograder.demo import answers_of, submit
from autograder.notebooks import read_master
from autograder.runner import run
from autograder.samples import answered, read_samples
from fridge import measure

UNIT = "03-kv-cache"
CLASSES = (4, 24)
STEPS = {
    "ours": "autograder.execute.SplitExecute",
    "stock": "autograder.execute.KernelExecute",  # nbgrader's own, told to leave out the cells that run the real model
}
RESULTS = Path("autograder/measurements/grading.json")


def bench(root: Path) -> str:
    """Measure, write `RESULTS`, and return the table.

    Raises:
        CourseError: a run of nbgrader failed.
    """
    rows = {}
    for name, step in STEPS.items():
        runs = [_autograde(root, size, step) for size in CLASSES]
        seconds = [run["seconds"] for run in runs]
        rows[name] = {
            "classes": CLASSES,
            "seconds": seconds,
            "submissions_per_minute": 60 * CLASSES[-1] / seconds[-1],
            "seconds_per_further_submission": (seconds[1] - seconds[0]) / (CLASSES[1] - CLASSES[0]),
            "peak_memory_mb": runs[-1]["peak_memory_mb"],
        }
    own = _cells_own_seconds(root)
    results = {
        "unit": UNIT,
        "machine": measure.machine() | {"nbgrader": version("nbgrader"), "date": datetime.date.today().isoformat()},
        "cells_own_seconds": own,
        "grading": rows,
        "ratio": rows["ours"]["submissions_per_minute"] / rows["stock"]["submissions_per_minute"],
        "ratio_of_further_submissions": rows["stock"]["seconds_per_further_submission"]
        / rows["ours"]["seconds_per_further_submission"],
        "overhead_seconds": rows["ours"]["seconds_per_further_submission"] - own,
    }
    (root / RESULTS).write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    return _table(results)


def _autograde(root: Path, size: int, step: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        unit = _class(root, Path(folder), size)
        command = [str(Path(sys.executable).with_name("nbgrader")), "autograde", UNIT]
        config = unit.root / "nbgrader_config.py"
        config.write_text(config.read_text().replace(STEPS["ours"], step))
        started = time.perf_counter()
        log = unit.root / "autograde.log"
        with log.open("wb") as file, subprocess.Popen(command, cwd=unit.root, stderr=file) as process:
            peak = _watch(process)
        seconds = time.perf_counter() - started
        if process.returncode:
            raise CourseError(f"nbgrader autograde failed:\n{log.read_text()[-2000:]}")
        return {"seconds": seconds, "peak_memory_mb": peak / 1e6}


def _class(root: Path, folder: Path, size: int) -> Unit:
    # Submissions of all kinds in turn: right ones written differently, and one wrong one in three.
    (folder / "course" / "fridge").mkdir(parents=True)
    shutil.copytree(root / "solutions" / UNIT, folder / "solutions" / UNIT)
    for name in ("nbgrader_config.py", "pyproject.toml"):
        shutil.copy(root / name, folder)
    build(folder, [UNIT])
    original, unit = find_units(root, [UNIT])[0], find_units(folder, [UNIT])[0]
    right = itertools.cycle(read_samples(original, "right"))
    wrong = itertools.cycle(read_samples(original, "wrong")[::7])
    for number in range(size):
        sample = next(wrong) if number % 3 == 2 else next(right)
        submit(unit, f"student-{number:03}", answers_of(unit, [sample]))
    return unit


def _watch(process: subprocess.Popen) -> int:
    # Peak of the resident memory of the command and all below it; shared pages are divided among their users.
    peak, root = 0, psutil.Process(process.pid)
    while process.poll() is None:
        total = 0
        try:
            for one in (root, *root.children(recursive=True)):
                total += one.memory_full_info().pss
        except psutil.Error:
            continue
        peak = max(peak, total)
        time.sleep(0.5)
    return peak


def _cells_own_seconds(root: Path) -> float:
    unit = find_units(root, [UNIT])[0]
    master = read_master(unit)
    notebooks = [answered(master, sample.answers) for sample in read_samples(unit, "right")]

    def seconds(notebook) -> float:
        started = time.perf_counter()
        run(notebook)
        return time.perf_counter() - started

    in_child(lambda: run(master).as_json(), 120)  # what the first run imports stays in that child; warm the disk only
    from fridge import measure, models, plots, scoreboard, testing, text  # noqa: F401

    return statistics.median(in_child(lambda n=notebook: seconds(n), 120) for notebook in notebooks)


def _table(results: dict) -> str:
    lines = [
        f"{UNIT} on {results['machine']['cpu']}, {os.cpu_count()} cores, nbgrader {results['machine']['nbgrader']}"
    ]
    lines.append(f"{'':8}{'submissions/min':>17}{'s per further one':>19}{'peak memory, MB':>17}")
    for name, row in results["grading"].items():
        lines.append(
            f"{name:8}{row['submissions_per_minute']:>17.1f}{row['seconds_per_further_submission']:>19.2f}"
            f"{row['peak_memory_mb']:>17.0f}"
        )
    lines.append(f"ratio of submissions per minute, {CLASSES[-1]} submissions, start included: {results['ratio']:.1f}")
    lines.append(f"ratio of the time for one more submission: {results['ratio_of_further_submissions']:.1f}")
    lines.append(
        f"cells' own time: {results['cells_own_seconds']:.2f} s; overhead: {results['overhead_seconds']:.2f} s"
    )
    return "\n".join(lines)
