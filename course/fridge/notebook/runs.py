"""What ran in this kernel: how each cell's last run ended, and which run each function came from.

So that a test can say that it tested the version before the one that a learner sees: their cell's last run failed, or
was edited and saved since, or wasn't run at all. IPython tells of each run (`post_run_cell`). Nothing here raises, and
where cells can't be told apart (Colab, other editors, no file) nothing is said.
"""

import ast
import contextlib
import dis
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import CodeType
from typing import Any

from fridge.notebook import grading, handouts, saved, this_notebook
from fridge.notebook.cells import STUB, Cell, read_cells
from fridge.notebook.handouts import Stub

MOST_NAMES = 200  # functions that an exercise is followed through
MAX_WORDS = 200  # characters of an error's message


@dataclass(frozen=True)
class Run:
    """One run of a cell.

    Attributes:
        failure: how it ended, "NameError, line 3: …"; empty if it ended well.
        cell_id: as the front end says, empty if it says none.
        count: the number that it has in the notebook.
        when: it ended, as `time.time()` counts.
    """

    cell: Cell
    failure: str
    cell_id: str
    count: int
    when: float


class Recorder:
    """Listens to one IPython shell.

    Attributes:
        of_cell: a cell's id -> its last run.
        defined: function or class -> the run that it comes from.
        overtaken: function or class -> a later run that should have defined it anew, and failed.
    """

    def __init__(self, shell: Any):
        self._shell = shell
        self._before: dict[str, Any] = {}
        self.current_id = ""
        self.of_cell: dict[str, Run] = {}
        self.defined: dict[str, Run] = {}
        self.overtaken: dict[str, Run] = {}
        for count, source in enumerate(list(shell.user_ns.get("In", []))[:-1]):  # before this library was imported
            run = Run(_cell(source), "", "", count, time.time())
            self.defined |= dict.fromkeys((name for name in run.cell.functions if name in shell.user_ns), run)
        shell.events.register("pre_run_cell", self._begin)
        shell.events.register("post_run_cell", self._end)

    def _begin(self, info: Any) -> None:
        with contextlib.suppress(Exception):
            self.current_id = getattr(info, "cell_id", None) or ""
            names = _cell(info.raw_cell).functions | _names_of(self.current_id)
            self._before = {name: self._shell.user_ns.get(name) for name in names}

    def _end(self, result: Any) -> None:
        with contextlib.suppress(Exception):  # None where the run was stopped before it began
            self._note(result)
        self._before, self.current_id = {}, ""

    def _note(self, result: Any) -> None:
        info, namespace = result.info, self._shell.user_ns
        cell, cell_id = _cell(info.raw_cell), getattr(info, "cell_id", None) or ""
        error = result.error_before_exec or result.error_in_exec
        run = Run(cell, _in_words(error) if error else "", cell_id, result.execution_count or 0, time.time())
        names = set(cell.functions)
        if isinstance(error, SyntaxError) and self._is_definer(cell_id):
            names |= _names_of(cell_id)  # the line with the `def` may be the broken one
        for name in names:
            if name in namespace and namespace[name] is not self._before.get(name):
                self.defined[name] = run
                self.overtaken.pop(name, None)
            elif error:
                self.overtaken[name] = run
        if cell_id:
            self.of_cell[cell_id] = run
            if not error:
                self.overtaken = {name: late for name, late in self.overtaken.items() if late.cell_id != cell_id}

    def _is_definer(self, cell_id: str) -> bool:
        """Whether an exercise's names come from the cell with this id, or from nowhere yet."""
        definers = {self.defined[name].cell_id for name in _names_of(cell_id) if name in self.defined}
        return definers <= {cell_id}


_recorder: Recorder | None = None


def watch() -> None:
    """Listen to this kernel from now on, if a learner works in it. Called when the library is imported."""
    global _recorder
    with contextlib.suppress(Exception):
        shell = this_notebook.shell()
        if _recorder is None and shell is not None and grading.is_learning():
            _recorder = Recorder(shell)


def version(exercise: str) -> object:
    """Which version of an exercise's names this kernel has; another one after each run that changed, or should have."""
    stub = handouts.stub(exercise) if _recorder else None
    if _recorder is None or stub is None:
        return None
    return [
        (_recorder.defined[name].cell.text if name in _recorder.defined else "", name in _recorder.overtaken)
        for name in sorted(stub.names)
    ]


def replaced(names: Iterable[str]) -> None:
    """Note that these names mean something else now: a reference, which no run of a cell has overtaken."""
    for name in names:
        if _recorder is not None:
            _recorder.overtaken.pop(name, None)


def stale(exercise: str, notebook: str) -> str:
    """Why what an exercise's test ran is not what the notebook shows, and what to do; empty if nothing speaks for it.

    Args:
        notebook: the name of its unit's notebook.
    """
    with contextlib.suppress(Exception):
        stub = handouts.stub(exercise) if _recorder and grading.is_learning() else None
        if _recorder is not None and stub is not None:
            return (
                _failed(_recorder, stub)
                or _not_run(_recorder, stub, exercise, notebook)
                or _edited(_recorder, stub, notebook)
            )
    return ""


def _failed(recorder: Recorder, stub: Stub) -> str:
    for name in sorted(stub.names):
        if late := recorder.overtaken.get(name):
            tested = (
                "what was tested is the version before it" if name in _namespace() else "there is nothing to test yet"
            )
            return (
                f"the last run of this exercise's cell failed with {late.failure}; {tested}. "
                "Mend the cell and run it, then this test again."
            )
    for name in _used(stub):
        if late := recorder.overtaken.get(name):
            return (
                f"the last run of the cell that defines `{name}` failed with {late.failure}; what was tested used the "
                "version before it. Mend that cell and run it, then this test again."
            )
    return ""


def _not_run(recorder: Recorder, stub: Stub, exercise: str, notebook: str) -> str:
    told_apart = recorder.current_id == exercise + handouts.TEST_SUFFIX  # this front end says which cell is which
    present = sorted(name for name in stub.names if name in _namespace())
    if not told_apart or not present or stub.grade_id in recorder.of_cell:
        return ""
    advice = "Run it, then this test again."
    if not stub.names & set(recorder.defined):
        return (
            f"this exercise's cell has not been run since the kernel started; the `{present[0]}` that was tested came "
            f"from elsewhere. {advice}"
        )
    found = saved.read(notebook)
    own = _saved_cell(found, stub)
    if found is None or own is None or STUB in own.source or not stub.names <= own.functions:
        return ""  # the answer may well stand in another cell
    if any(_differs(own, recorder.defined[name], name, found) for name in present if name in recorder.defined):
        return (
            "this exercise's cell has not been run since the kernel started; what was tested stands in another cell. "
            f"{advice}"
        )
    return ""


def _edited(recorder: Recorder, stub: Stub, notebook: str) -> str:
    runs = [recorder.defined[name] for name in stub.names if name in recorder.defined]
    found = saved.read(notebook) if runs else None
    cell = _saved_cell(found, stub)
    if found is None or cell is None:
        return ""
    for run in runs:
        # The number tells that it is this kernel's notebook, the time that it was saved after this run and not before.
        if cell.ran != run.count or found.when <= run.when:
            continue
        names = (stub.names | cell.functions) & set(recorder.defined)
        if any(_differs(cell, recorder.defined[name], name, found) for name in names):
            return (
                "this exercise's cell was changed after its last run; what was tested is the version before the "
                "change. Run the cell, then this test again."
            )
    return ""


def _saved_cell(notebook: saved.Saved | None, stub: Stub) -> Cell | None:
    cells = notebook.cells if notebook else []
    return next((cell for cell in cells if cell.kind == "code" and stub.grade_id in (cell.grade_id, cell.id)), None)


def _differs(cell: Cell, run: Run, name: str, notebook: saved.Saved) -> bool:
    """Whether a cell defines a name otherwise than a run did, in more than comments and spaces."""
    if cell.text == run.cell.text:
        return False
    if cell.text in run.cell.text or name not in cell.functions:  # split, or moved: what ran stands in other cells, too
        everywhere = sum((other.lines for other in notebook.cells if other.kind == "code"), Counter())
        if run.cell.lines <= everywhere:
            return False
    return _definition(cell, name) != _definition(run.cell, name)


def _definition(cell: Cell, name: str) -> str | None:
    shell = this_notebook.shell()
    try:
        tree = ast.parse(shell.transform_cell(cell.source) if shell else cell.source)  # magics are no Python
    except (SyntaxError, ValueError, RecursionError):
        return None
    return next((ast.dump(node) for node in reversed(tree.body) if getattr(node, "name", None) == name), None)


def _used(stub: Stub) -> Iterator[str]:
    """Names of the notebook that an exercise's functions use, and those that these use."""
    namespace, seen = _namespace(), set(stub.names)
    waiting = sorted(stub.names)
    while waiting and len(seen) < MOST_NAMES:
        found = namespace.get(waiting.pop())
        if getattr(found, "__module__", None) != "__main__":
            continue
        new = {name for code in _codes(found) for name in _globals(code)} - seen
        seen |= new
        waiting += sorted(new)
        yield from sorted(new)


def _codes(value: Any) -> Iterator[CodeType]:
    value = getattr(value, "__wrapped__", value)
    members = vars(value).values() if isinstance(value, type) else [value]
    for member in members:
        for part in (member, getattr(member, "__func__", None), getattr(member, "fget", None)):
            if isinstance(code := getattr(part, "__code__", None), CodeType):
                yield code


def _globals(code: CodeType) -> Iterator[str]:
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield step.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _globals(constant)


def _in_words(error: BaseException) -> str:
    said = str(error.msg if isinstance(error, SyntaxError) else error).strip().splitlines()
    line = error.lineno if isinstance(error, SyntaxError) else _line(error)
    kind = type(error).__name__ + (f", line {line}" if line else "")
    return f"{kind}: {said[0][:MAX_WORDS]}" if said else kind


def _line(error: BaseException) -> int | None:
    # The cell's own frame: libraries have no frame of a module while they are called.
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame.lineno for frame in frames if frame.name in ("<module>", "<cell line: 1>")), None)


def _names_of(cell_id: str) -> frozenset[str]:
    stub = handouts.stub(cell_id) if cell_id else None
    return stub.names if stub and stub.grade_id == cell_id else frozenset()


def _namespace() -> dict[str, Any]:
    shell = this_notebook.shell()
    return shell.user_ns if shell else {}


def _cell(source: Any) -> Cell:
    return read_cells([{"cell_type": "code", "source": source, "metadata": {"nbgrader": {"grade_id": "run"}}}])[0]
