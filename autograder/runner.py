"""Run notebooks side by side, each in a forked process of its own, and say which test cells passed.

In-process: learner's code and tests together, the form in which a learner's own kernel runs them; for code that is
trusted, such as the sample submissions. Split: learner's code in the sandbox, tests apart from it, as for credit.
"""

import contextlib
import io
import multiprocessing
import signal
from concurrent.futures import ProcessPoolExecutor

from nbformat import NotebookNode

from autograder import forking, imports
from autograder.children import ChildFailed, in_child
from autograder.notebooks import grade_id, is_for_real, is_test
from autograder.paper import Paper
from autograder.verdict import Graded, Verdict

WORKERS = 2
SECONDS_PER_CELL = 20
SECONDS_PER_NOTEBOOK = 400

_sandbox = None  # one for each worker process in split mode


def run_all(notebooks: dict[str, NotebookNode], master: NotebookNode, mode: str) -> dict[str, dict[str, Verdict]]:
    """Name -> notebook to name -> grade_id -> verdict, two notebooks at a time."""
    # Imported once, before the forks: what the notebooks import, and what runs them.
    import IPython.core.interactiveshell  # noqa: F401

    from fridge import measure, models, plots, scoreboard, testing, text  # noqa: F401

    imports.run(imports.of_tests(master) + imports.of_handout(master))
    forking.settle()
    context = multiprocessing.get_context("fork")
    prepare = _make_sandbox if mode == "split" else None
    with ProcessPoolExecutor(WORKERS, context, initializer=prepare, initargs=(master,) * bool(prepare)) as pool:
        jobs = [(notebook, master, mode, SECONDS_PER_CELL) for notebook in notebooks.values()]
        return dict(zip(notebooks, pool.map(_run_apart, *zip(*jobs, strict=True)), strict=True))


def run(notebook: NotebookNode) -> Graded:
    """Execute the code cells in order, tests and learner's code in this process.

    Changes this process's state (threads, alarm, IPython's instance): call it in a process of its own.
    """
    import torch
    from IPython.core.interactiveshell import InteractiveShell

    torch.set_num_threads(1)  # tiny tensors; the pool keeps the cores busy
    shell = InteractiveShell.instance()
    signal.signal(signal.SIGALRM, _out_of_time)
    graded = Graded()
    for cell in notebook.cells:
        if cell.cell_type != "code" or is_for_real(cell):
            continue
        error = _execute(shell, cell.source)
        if is_test(cell):
            worth = cell.metadata.nbgrader.points
            message = "" if error is None else str(error) or type(error).__name__
            graded.verdicts[grade_id(cell)] = Verdict(0.0 if error else worth, worth, message)
    return graded


def _make_sandbox(master: NotebookNode) -> None:
    from autograder.sandbox import Sandbox

    global _sandbox
    _sandbox = Sandbox(imports=imports.of_handout(master))


def _run_apart(notebook: NotebookNode, master: NotebookNode, mode: str, seconds_per_cell: int) -> dict[str, Verdict]:
    def job() -> dict:
        global SECONDS_PER_CELL
        SECONDS_PER_CELL = seconds_per_cell
        if mode == "inprocess":
            return run(notebook).as_json()
        from autograder import split

        split.SECONDS_PER_CELL = seconds_per_cell
        return split.grade(notebook, Paper(master), _sandbox).as_json()

    try:
        return Graded.from_json(in_child(job, SECONDS_PER_NOTEBOOK)).verdicts
    except ChildFailed as failed:
        tests = [cell for cell in master.cells if is_test(cell)]
        return {grade_id(cell): Verdict(0.0, cell.metadata.nbgrader.points, str(failed)) for cell in tests}
    finally:
        if _sandbox is not None:
            _sandbox.prepare()


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
