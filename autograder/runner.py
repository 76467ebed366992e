"""Run a notebook's cells in one process, learner's code and tests together, and say which test cells passed.

The form in which a learner's own kernel runs them. Each notebook has a forked process of its own, in which torch and
fridge are imported already; for code that is trusted, such as the sample submissions of tests/submissions.
"""

import contextlib
import io
import multiprocessing
import signal
from dataclasses import dataclass

from nbformat import NotebookNode

from autograder.notebooks import grade_id, is_for_real, is_test

WORKERS = 2
SECONDS_PER_CELL = 20


@dataclass(frozen=True)
class Verdict:
    """One test cell's result: its points or none of them, and the message that the learner would read."""

    points: float
    max_points: float
    message: str

    @property
    def passed(self) -> bool:
        """All points."""
        return self.points == self.max_points


def run_all(notebooks: dict[str, NotebookNode]) -> dict[str, dict[str, Verdict]]:
    """Name -> notebook to name -> grade_id -> verdict, two notebooks at a time."""
    import fridge.testing  # noqa: F401 - imported once, before the forks

    context = multiprocessing.get_context("fork")
    with context.Pool(WORKERS, maxtasksperchild=1) as pool:
        return dict(zip(notebooks, pool.map(run, notebooks.values(), chunksize=1), strict=True))


def run(notebook: NotebookNode) -> dict[str, Verdict]:
    """Execute the code cells in order, those that run the real model left out; grade_id of each test cell -> verdict.

    Changes this process's state (threads, alarm, IPython's instance): call it in a process of its own.
    """
    import torch
    from IPython.core.interactiveshell import InteractiveShell

    torch.set_num_threads(1)  # tiny tensors; the pool keeps the cores busy
    shell = InteractiveShell.instance()
    signal.signal(signal.SIGALRM, _out_of_time)
    verdicts = {}
    for cell in notebook.cells:
        if cell.cell_type != "code" or is_for_real(cell):
            continue
        error = _execute(shell, cell.source)
        if is_test(cell):
            worth = cell.metadata.nbgrader.points
            message = "" if error is None else f"{type(error).__name__}: {error}"
            verdicts[grade_id(cell)] = Verdict(0.0 if error else worth, worth, message)
    return verdicts


def _execute(shell, source: str) -> BaseException | None:
    output = io.StringIO()
    signal.alarm(SECONDS_PER_CELL)
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            result = shell.run_cell(source)
    finally:
        signal.alarm(0)
    return result.error_before_exec or result.error_in_exec


def _out_of_time(signum: int, frame: object) -> None:
    raise TimeoutError(f"the cell ran for more than {SECONDS_PER_CELL} seconds")
