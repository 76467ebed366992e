"""`autograder bench`: submissions per minute of `nbgrader autograde`, with our execution step and with nbgrader's own.

The same notebooks, the same machine, one process each, one after the other, each class from its start: what the shell's
clock would show. Two class sizes give the cost of one more submission. Memory is taken in a run of its own, for looking
at it takes time. The cells' own time is that of running the same notebooks in a warm process without any wall.
"""

import datetime
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from autograder.authoring.runner import run
from autograder.authoring.samples import answered
from autograder.course import CourseError, Unit, find_units
from autograder.isolation.children import in_child
from autograder.notebooks import read_master
from autograder.trials import memory
from autograder.trials.generated import UNIT, all_kinds, answers_of, course_of_one_unit, submit
from fridge.workbench import measure

FEW, CLASS = 4, 40  # submissions
STEPS = {
    "ours": "autograder.submissions.execute.SplitExecute",
    # nbgrader's own, told to leave out the cells that run the real model
    "stock": "autograder.submissions.execute.KernelExecute",
}
STOCK_STEPS = "\ndel c.Autograde['sanitize_preprocessors']\n"  # nbgrader's own: no submission is rebuilt
RESULTS = Path("autograder/measurements/grading.json")


def bench(root: Path) -> str:
    """Measure, write `RESULTS`, and return the table. Takes some ten minutes, nearly all of them stock nbgrader's.

    Raises:
        CourseError: a run of nbgrader failed.
    """
    grading = {name: _measure(root, step) for name, step in STEPS.items()}
    own = _cells_own_seconds(root)
    ours, stock = grading["ours"], grading["stock"]
    results = {
        "unit": UNIT,
        "machine": measure.machine() | {"nbgrader": version("nbgrader"), "date": datetime.date.today().isoformat()},
        "cells_own_seconds": own,
        "grading": grading,
        "ratio": ours["submissions_per_minute"] / stock["submissions_per_minute"],
        "ratio_of_further_submissions": stock["seconds_per_further_submission"]
        / ours["seconds_per_further_submission"],
        "overhead_seconds": ours["seconds_per_further_submission"] - own,
    }
    (root / RESULTS).write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    return _table(results)


def _measure(root: Path, step: str) -> dict[str, Any]:
    memory = _autograde(root, FEW, step, watch=True)["memory_mb"]
    few, all_ = (_autograde(root, size, step) for size in (FEW, CLASS))
    return {
        "submissions_per_minute": 60 * CLASS / all_["seconds"],
        "seconds_per_further_submission": (all_["seconds"] - few["seconds"]) / (CLASS - FEW),
        "memory_mb": memory,
        "runs": [few, all_],
    }


def _autograde(root: Path, size: int, step: str, watch: bool = False) -> dict[str, Any]:
    # Raw numbers: a busy machine shows in the load, and in what single submissions took.
    with tempfile.TemporaryDirectory() as folder:
        unit = _class(root, Path(folder), size)
        command = [str(Path(sys.executable).with_name("nbgrader")), "autograde", UNIT]
        config = unit.root / "nbgrader_config.py"
        ours = config.read_text()
        config.write_text(ours if step == STEPS["ours"] else ours.replace(STEPS["ours"], step) + STOCK_STEPS)
        log, load, started = unit.root / "autograde.log", os.getloadavg()[0], time.perf_counter()
        with log.open("wb") as file, subprocess.Popen(command, cwd=unit.root, stderr=file) as process:
            peak = _peak_memory(process) if watch else 0
        seconds = time.perf_counter() - started
        if process.returncode:
            raise CourseError(f"nbgrader autograde failed:\n{log.read_text()[-2000:]}")
        graded = unit.root.glob(f"grading/autograded/*/{UNIT}/*.ipynb")
        saved = sorted(path.stat().st_mtime for path in graded)
        if len(saved) != size:
            raise CourseError(f"nbgrader graded {len(saved)} of {size} submissions:\n{log.read_text()[-2000:]}")
        between = [round(after - before, 3) for before, after in itertools.pairwise(saved)]
        run = {"submissions": size, "seconds": seconds, "load_before": load, "between_submissions": between}
        return run | ({"memory_mb": peak / 1e6} if watch else {})


def _class(root: Path, folder: Path, size: int) -> Unit:
    unit = course_of_one_unit(root, folder)
    for number, sample in enumerate(itertools.islice(all_kinds(find_units(root, [UNIT])[0]), size)):
        submit(unit, f"student-{number:03}", answers_of(unit, [sample]))
    return unit


def _peak_memory(process: subprocess.Popen) -> int:
    peak, root = 0, psutil.Process(process.pid)
    while process.poll() is None:
        peak = max(peak, memory.of_all(root))
        time.sleep(0.2)
    return peak


def _cells_own_seconds(root: Path) -> float:
    unit = find_units(root, [UNIT])[0]
    master = read_master(unit)
    notebooks = [answered(master, sample.answers) for sample in itertools.islice(all_kinds(unit), CLASS)]

    def job() -> list[float]:
        _import_what_notebooks_need()  # before the clock, and in a process of its own
        return [in_child(lambda n=notebook: _seconds(n), 120) for notebook in notebooks]

    return statistics.mean(in_child(job, 600))


def _import_what_notebooks_need() -> None:
    from IPython.core.interactiveshell import InteractiveShell

    from fridge import models, testing  # noqa: F401
    from fridge.notebook import scoreboard  # noqa: F401
    from fridge.workbench import measure, plots, text  # noqa: F401

    InteractiveShell.instance()


def _seconds(notebook) -> float:
    started = time.perf_counter()
    run(notebook)
    return time.perf_counter() - started


def _table(results: dict[str, Any]) -> str:
    grading = results["grading"]
    lines = [
        f"{UNIT} on {results['machine']['cpu']}, {os.cpu_count()} cores, nbgrader {results['machine']['nbgrader']}",
        f"{'':8}{'class of ' + str(CLASS) + ', s':>17}{'submissions/min':>17}{'per further one, s':>20}"
        f"{'median':>8}{'slowest':>9}{'memory, MB':>12}",
    ]
    for name, row in grading.items():
        between = row["runs"][-1]["between_submissions"]
        lines.append(
            f"{name:8}{row['runs'][-1]['seconds']:>17.1f}{row['submissions_per_minute']:>17.1f}"
            f"{row['seconds_per_further_submission']:>20.2f}{statistics.median(between):>8.2f}{max(between):>9.2f}"
            f"{row['memory_mb']:>12.0f}"
        )
    lines.append(f"ratio of submissions per minute, both with their start: {results['ratio']:.1f}")
    lines.append(f"ratio of the time for one more submission: {results['ratio_of_further_submissions']:.1f}")
    lines.append(
        f"cells' own time: {results['cells_own_seconds']:.2f} s; overhead: {results['overhead_seconds']:.2f} s"
    )
    lines.append("memory: the largest sum of resident memory of one worker, which is nbgrader and all that it started")
    return "\n".join(lines)
