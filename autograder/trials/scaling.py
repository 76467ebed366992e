"""`autograder bench --scaling`: what one more submission costs in classes of 10 to 500, with one worker and with two.

Each class is graded by the command itself, from its start. One worker and two take turns, for a machine's speed drifts.
Raw numbers go to `RESULTS`; how they carry over to 100,000 submissions on many workers is worked out in SCALE.md.
"""

import datetime
import itertools
import json
import os
import statistics
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from autograder.batch.spool import SPOOL
from autograder.course import CourseError, Unit
from autograder.trials import memory
from autograder.trials.bottlenecks import bottlenecks
from autograder.trials.generated import UNIT, command, generated_class
from fridge.workbench import measure

SIZES = (10, 50, 200, 500)
COMPARED, TURNS = 150, (1, 2, 2, 1, 1, 2)  # submissions, and the workers of one run after the other
WARM = 20  # records after which every worker is at work
LOOK_SECONDS = 2.0  # looking at memory takes time, too
RESULTS = Path("autograder/measurements/scaling.json")


def scaling(root: Path) -> str:
    """Measure, write `RESULTS`, and return the table. Takes some ten minutes.

    Raises:
        CourseError: a run failed.
    """
    by_size = [timed(root, size, 2) for size in SIZES]
    by_workers = [timed(root, COMPARED, workers) for workers in TURNS]
    results = {
        "unit": UNIT,
        "machine": measure.machine() | {"nbgrader": version("nbgrader"), "date": datetime.date.today().isoformat()},
        "by_size": by_size,
        "by_workers": by_workers,
        "second_worker_gives": second_worker_gives(by_workers),
        "bottlenecks": bottlenecks(root),
    }
    (root / RESULTS).write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    _plot(results, root / RESULTS.with_suffix(".png"))
    return _table(results)


def second_worker_gives(runs: list[dict[str, Any]]) -> list[float]:
    """How many times as fast two workers were as one, for each two runs that followed each other."""
    ratios = []
    for pair in zip(runs[::2], runs[1::2], strict=True):
        seconds = {run["workers"]: run["seconds_per_submission_when_warm"] for run in pair}
        ratios.append(seconds[1] / seconds[2])
    return ratios


def timed(root: Path, size: int, workers: int) -> dict[str, Any]:
    """One class graded from nothing: seconds, memory, and when each record was on disk."""
    with tempfile.TemporaryDirectory() as folder:
        unit = generated_class(root, Path(folder) / "course", size)
        load, started = os.getloadavg()[0], time.time()
        peak, busy = _run(unit, workers)
        seconds = time.time() - started
        saved = sorted(path.stat().st_mtime - started for path in (unit.root / SPOOL / UNIT).glob("*.gz"))
        kept = sum(path.stat().st_size for path in (unit.root / SPOOL / UNIT).glob("*.gz"))
    if len(saved) != size:
        raise CourseError(f"{len(saved)} of {size} submissions were graded.")
    warm = saved[WARM if size > 2 * WARM else 0 :]
    return {
        "submissions": size,
        "workers": workers,
        "seconds": seconds,
        "seconds_to_first": saved[0],
        "seconds_per_further_submission": (saved[-1] - saved[0]) / (size - 1),
        "seconds_per_submission_when_warm": (warm[-1] - warm[0]) / (len(warm) - 1),
        "cores_at_work_when_warm": _cores_at_work(busy, started + warm[0], started + warm[-1]),
        "peak_memory_mb": peak / 1e6,
        "spool_bytes_per_submission": kept / size,
        "load_before": load,
        "records_at": [round(moment, 2) for moment in saved],
    }


def _run(unit: Unit, workers: int) -> tuple[int, list[tuple[float, float]]]:
    # Peak memory, bytes, and moments with the core-seconds that the machine had worked until then.
    with (unit.root / "grade.log").open("wb") as log:
        process = psutil.Popen(command(workers), cwd=unit.root, stdout=log, stderr=log)
        peak, busy = 0, []
        while process.poll() is None:
            peak = max(peak, memory.of_all(process))
            times = psutil.cpu_times()
            busy.append((time.time(), times.user + times.nice + times.system))
            time.sleep(LOOK_SECONDS)
    if process.returncode:
        raise CourseError(f"grading failed:\n{(unit.root / 'grade.log').read_text()[-2000:]}")
    return peak, busy


def _cores_at_work(busy: list[tuple[float, float]], start: float, end: float) -> float | None:
    within = [look for look in busy if start <= look[0] <= end]
    if len(within) < 2:  # the class was too small to be looked at twice
        return None
    (first, before), *_, (last, after) = within
    return (after - before) / (last - first)


def _plot(results: dict[str, Any], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for shade, run in zip(("#b8c4d6", "#8fa3c4", "#56749f", "#1f3d68"), results["by_size"], strict=False):
        since = [moment - run["records_at"][0] for moment in run["records_at"]]
        axes.plot(since, range(1, len(since) + 1), color=shade, linewidth=2, label=f"class of {run['submissions']}")
    costs = [run["seconds_per_further_submission"] for run in results["by_size"]]
    title = f"One more submission costs {min(costs):.2f} to {max(costs):.2f} s, by two workers on two cores"
    axes.set_title(title, fontsize=11)
    axes.set_xlabel("seconds since the first verdict")
    axes.set_ylabel("verdicts on disk")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _table(results: dict[str, Any]) -> str:
    lines = [
        f"{UNIT} on {results['machine']['cpu']}, {os.cpu_count()} cores",
        f"{'submissions':>11}{'workers':>9}{'seconds':>9}{'first after':>13}{'one more, s':>13}{'slowest, s':>12}"
        f"{'cores':>7}{'memory, MB':>12}{'spool, KB each':>16}",
    ]
    for run in (*results["by_size"], *results["by_workers"]):
        between = [after - before for before, after in itertools.pairwise(run["records_at"])]
        lines.append(
            f"{run['submissions']:>11}{run['workers']:>9}{run['seconds']:>9.1f}{run['seconds_to_first']:>13.1f}"
            f"{run['seconds_per_further_submission']:>13.3f}{max(between):>12.2f}"
            f"{run['cores_at_work_when_warm'] or float('nan'):>7.2f}{run['peak_memory_mb']:>12.0f}"
            f"{run['spool_bytes_per_submission'] / 1e3:>16.1f}"
        )
    steady = [run["seconds_per_further_submission"] for run in results["by_size"]]
    lines.append(f"one more submission costs {statistics.mean(steady):.3f} s on average over the class sizes")
    ratios = results["second_worker_gives"]
    lines.append(
        f"a second worker gives {statistics.median(ratios):.2f} times as many submissions a second "
        f"(median of {', '.join(f'{ratio:.2f}' for ratio in sorted(ratios))})"
    )
    lines += [f"{name.replace('_', ' ')}: {value:.4g}" for name, value in results["bottlenecks"].items()]
    return "\n".join(lines)
