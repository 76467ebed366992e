"""Run variants of a master side by side, each in a forked process of its own, and say which test cells passed.

In-process: learner's code and tests together, the form in which a learner's own kernel runs them; for code that is
trusted, such as the sample submissions. What a variant shares with the master is run once: the master runs cell by
cell, and each variant is forked off before the first cell in which it differs. Split: learner's code in the sandbox,
tests apart from it, as for credit, each notebook from its start.
"""

import collections
import contextlib
import io
import multiprocessing
import signal
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Any

from nbformat import NotebookNode

from autograder.isolation import forking, imports
from autograder.isolation.children import ChildFailed, in_child
from autograder.isolation.patience import WIDE
from autograder.notebooks import grade_id, is_for_real, is_test
from autograder.submissions.paper import Paper
from autograder.submissions.verdict import Graded, Verdict

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

WORKERS = 2
SECONDS_PER_CELL = 20  # of the processor; by the clock the tenfold
SECONDS_PER_NOTEBOOK = 400

_sandbox = None  # one for each worker process in split mode


def run_all(
    notebooks: dict[str, NotebookNode],
    master: NotebookNode,
    mode: str,
    drills: dict[str, NotebookNode],
    cpu_seconds: float | None = None,
) -> dict[str, dict[str, Verdict]]:
    """Name -> variant of the master to name -> grade_id -> verdict, two at a time. Drills have tests of their own.

    Args:
        cpu_seconds: that a cell has in-process; `SECONDS_PER_CELL` by default.
    """
    # Imported once, before the forks: what the notebooks import, and what runs them.
    import IPython.core.interactiveshell  # noqa: F401

    from fridge import models, testing  # noqa: F401
    from fridge.notebook import scoreboard  # noqa: F401
    from fridge.workbench import measure, plots, text  # noqa: F401

    imports.run(imports.of_tests(master) + imports.of_handout(master))
    forking.settle()
    context = multiprocessing.get_context("fork")
    if mode == "split":
        with ProcessPoolExecutor(WORKERS, context, initializer=_make_sandbox, initargs=(master,)) as pool:
            jobs = [(notebook, master, SECONDS_PER_CELL) for notebook in notebooks.values()]
            jobs += [(drill, drill, SECONDS_PER_CELL) for drill in drills.values()]
            return dict(zip([*notebooks, *drills], pool.map(_run_split, *zip(*jobs, strict=True)), strict=True))
    variants = list((notebooks | drills).items())
    shares = [dict(variants[worker::WORKERS]) for worker in range(WORKERS)]
    with ProcessPoolExecutor(WORKERS, context) as pool:
        return dict(
            collections.ChainMap(
                *pool.map(_run_share, shares, [master] * WORKERS, [cpu_seconds or SECONDS_PER_CELL] * WORKERS)
            )
        )


def run(notebook: NotebookNode) -> Graded:
    """Execute the code cells in order, tests and learner's code in this process.

    Changes this process's state (threads, alarm, IPython's instance): call it in a process of its own.
    """
    graded = Graded()
    _run_cells(_shell(), notebook.cells, graded, SECONDS_PER_CELL)
    return graded


def _shell() -> "InteractiveShell":
    import torch
    from IPython.core.interactiveshell import InteractiveShell

    from fridge.notebook import grading

    grading.begin(grading.Role.TESTING)
    torch.set_num_threads(1)  # tiny tensors; the pool keeps the cores busy
    for alarm in (signal.SIGALRM, signal.SIGPROF):
        signal.signal(alarm, _out_of_time)
    return InteractiveShell.instance()


def _run_cells(shell: "InteractiveShell", cells: list[NotebookNode], graded: Graded, cpu_seconds: float) -> None:
    for cell in cells:
        if cell.cell_type != "code" or is_for_real(cell):
            continue
        error = _execute(shell, cell.source, cpu_seconds)
        if is_test(cell):
            worth = cell.metadata.nbgrader.points
            message = "" if error is None else str(error) or type(error).__name__
            graded.verdicts[grade_id(cell)] = Verdict(0.0 if error else worth, worth, message)


def _run_share(
    notebooks: dict[str, NotebookNode], master: NotebookNode, cpu_seconds: float
) -> dict[str, dict[str, Verdict]]:
    # One process runs the master; the variants are its children, each with the cells that are left to run.
    starts = {name: _first_difference(notebook, master) for name, notebook in notebooks.items()}

    def trunk() -> dict[str, Any]:
        shell, graded, results = _shell(), Graded(), {}
        for index in range(len(master.cells) + 1):
            for name in (name for name, start in starts.items() if start == index):
                results[name] = branch(shell, notebooks[name], index, graded)
            _run_cells(shell, master.cells[index : index + 1], graded, SECONDS_PER_CELL)
        return results

    def branch(shell: "InteractiveShell", notebook: NotebookNode, start: int, graded: Graded) -> dict[str, Any]:
        def rest() -> dict[str, Any]:
            _run_cells(shell, notebook.cells[start:], graded, cpu_seconds)
            return graded.as_json()

        try:
            return in_child(rest, SECONDS_PER_NOTEBOOK)
        except ChildFailed as failed:
            return _all_lost(notebook, failed).as_json()

    try:
        results = in_child(trunk, SECONDS_PER_NOTEBOOK * (1 + len(notebooks)))
    except ChildFailed as failed:
        return {name: _all_lost(notebook, failed).verdicts for name, notebook in notebooks.items()}
    return {name: Graded.from_json(result).verdicts for name, result in results.items()}


def _first_difference(notebook: NotebookNode, master: NotebookNode) -> int:
    pairs = enumerate(zip(notebook.cells, master.cells, strict=False))  # a drill is longer or shorter
    return next((index for index, (cell, original) in pairs if cell.source != original.source), len(master.cells))


def _all_lost(notebook: NotebookNode, failed: ChildFailed) -> Graded:
    tests = [cell for cell in notebook.cells if is_test(cell)]
    return Graded({grade_id(cell): Verdict(0.0, cell.metadata.nbgrader.points, str(failed)) for cell in tests})


def _make_sandbox(master: NotebookNode) -> None:
    from autograder.isolation.sandbox import Sandbox

    global _sandbox
    _sandbox = Sandbox(imports=imports.of_handout(master))


def _run_split(notebook: NotebookNode, master: NotebookNode, seconds_per_cell: int) -> dict[str, Verdict]:
    from autograder.submissions import split

    def job() -> dict[str, Any]:
        split.SECONDS_PER_CELL = seconds_per_cell
        split.SECONDS_PER_NOTEBOOK = SECONDS_PER_NOTEBOOK
        return split.grade(notebook, Paper(master), _sandbox).as_json()

    for _ in range(2):
        try:
            return Graded.from_json(in_child(job, WIDE * SECONDS_PER_NOTEBOOK)).verdicts
        except ChildFailed as failed:
            lost = _all_lost(notebook, failed).verdicts
            if _sandbox.alive():
                return lost
            _sandbox.close()  # as in grading: one that was ended under a notebook is no fault of the notebook's
            _make_sandbox(master)
        finally:
            _sandbox.prepare()
    return lost


def _execute(shell: "InteractiveShell", source: str, cpu_seconds: float) -> BaseException | None:
    output = io.StringIO()
    signal.alarm(WIDE * SECONDS_PER_CELL)
    signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            result = shell.run_cell(source)
    finally:
        signal.alarm(0)
        signal.setitimer(signal.ITIMER_PROF, 0)
    return result.error_before_exec or result.error_in_exec


def _out_of_time(signum: int, frame: object) -> None:
    raise TimeoutError("the cell ran for too long")
