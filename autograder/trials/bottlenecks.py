"""What many workers share, in numbers for the model in SCALE.md: the writer, and Dask's scheduler."""

import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from autograder.batch.cluster import RETRIES
from autograder.batch.spool import SPOOL
from autograder.course import CourseError
from autograder.submissions.release import read_release
from autograder.submissions.worker import pack_task
from autograder.trials.generated import UNIT, command, generated_class

SIZE = 100  # submissions
ROUNDS = 5  # in which all of them go through the scheduler


def bottlenecks(root: Path) -> dict[str, float]:
    """Grade a class, merge it anew from the spool, and send its tasks through a cluster whose worker grades nothing.

    Raises:
        CourseError: grading failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        unit = generated_class(root, Path(folder) / "course", SIZE)
        release = read_release(unit)
        submissions = [path.read_bytes() for path in (unit.root / "grading" / "submitted").rglob("*.ipynb")]
        tasks = [pack_task(release, release.key(data), data) for data in submissions]
        merge = _merge_seconds(unit.root, Path(folder))
        records = [path.stat().st_size for path in (unit.root / SPOOL / UNIT).glob("*.gz")]
    return {
        "seconds_a_merge": merge,
        "scheduler_tasks_a_second": _tasks_a_second(tasks, int(statistics.mean(records))),
        "bytes_a_task": statistics.mean(map(len, tasks)),
        "bytes_a_record": statistics.mean(records),
    }


def _merge_seconds(course: Path, aside: Path) -> float:
    # The second run finds all records in the spool, and a gradebook as it was before the first.
    gradebook, autograded = course / "grading" / "gradebook.db", course / "grading" / "autograded"
    shutil.copy(gradebook, aside)
    for _ in range(2):
        shutil.rmtree(autograded, ignore_errors=True)
        shutil.copy(aside / gradebook.name, gradebook)
        done = subprocess.run(command(2), cwd=course, capture_output=True, text=True)
        if done.returncode:
            raise CourseError(f"grading failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    merged = sorted(path.stat().st_mtime for path in autograded.rglob("*.ipynb"))
    return (merged[-1] - merged[0]) / (len(merged) - 1)


def _tasks_a_second(tasks: list[bytes], answer: int) -> float:
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        executor = client.get_executor(retries=RETRIES)
        rounds = []
        for _ in range(1 + ROUNDS):  # the first to warm up
            started = time.perf_counter()
            for future in [executor.submit(_beginning, task, answer) for task in tasks]:
                future.result()
            rounds.append(len(tasks) / (time.perf_counter() - started))
    return statistics.median(rounds[1:])


def _beginning(task: bytes, size: int) -> bytes:
    return task[:size]  # as large as a record
