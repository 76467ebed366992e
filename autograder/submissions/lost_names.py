"""What became of a name that an answer misses in grading though the notebook's own kernel had it.

The name came from a statement that failed here, a cell that was stopped or isn't valid Python, or one that runs the
real model, which grading skips. Texts are parsed, never executed.
"""

import ast
import re
from typing import Any

from autograder.isolation.cell_run import MOST_FAILURES
from autograder.pythons import newer_than_here
from fridge.notebook.cells import parsed, read_cells
from fridge.testing.outcome import name_of

SHOWN = 80  # characters of a line of code in a sentence
_UNDEFINED = re.compile(r"name '(\w+)' is not defined")
_EMPTY_LINES = re.compile(r"\A(?:[ \t]*\n)+")
_MAGIC = re.compile(r"^([ \t]*)[%!].*$", re.MULTILINE)
_NO_MODULE = re.compile(r"No module named '([\w.]+)'")


class LostNames:
    """Sentences about names, gathered while a notebook's cells run."""

    def __init__(self, metadata: Any = None):
        self._newer = newer_than_here(metadata)
        self._sentences: dict[str, str] = {}

    def skipped(self, source: str) -> None:
        """Note a cell that grading doesn't run."""
        why = "is made by a cell that runs the real model, and grading skips those: an answer can't use it"
        self._note(_all_names(source), lambda name: f"`{name}` {why}.")

    def failed(self, source: str, failures: Any) -> None:
        """Note the statements of a cell that failed: [[line, kind of error, message], …], from a learner's process."""
        source = _EMPTY_LINES.sub("", source)  # IPython counts from the first line with text
        tree = parsed(_MAGIC.sub(r"\1pass", source))
        for failure in failures[:MOST_FAILURES] if type(failures) is list else []:
            if type(failure) is not list or [type(part) for part in failure] != [int, str, str]:
                continue
            line, kind, message = failure
            said = " ".join(f"{kind}: {message}"[: 4 * SHOWN].split())[: 2 * SHOWN].rstrip(": ")
            body = tree.body if tree else []
            statement = next((node for node in body if node.lineno <= line <= node.end_lineno), None)
            if statement is not None:
                code = source.split("\n")[line - 1].strip()[:SHOWN]
                why = f"should come from the line `{code}`, which failed in grading ({said})"
                self._note(_bound(statement), lambda name, why=why: f"`{name}` {why}.")
            elif line == 0:
                why = f"is defined in a cell that is not valid Python here ({said}){self._because_newer()}"
                self._note(_all_names(source), lambda name, why=why: f"`{name}` {why}.")

    def stopped(self, source: str, reason: str) -> None:
        """Note a cell during which the learner's process was lost."""
        self._note(_all_names(source), lambda name: f"`{name}` is defined in a cell that was stopped: {reason}.")

    def found(self, source: str) -> None:
        """Note a cell that ran: what it defines isn't lost any more."""
        for name in _all_names(source):
            self._sentences.pop(name, None)

    def cause(self, error: BaseException) -> str:
        """Why this error arose in grading, in a sentence; empty where nothing is known."""
        if undefined := _UNDEFINED.search(str(error)):
            return self._sentences.get(undefined[1], "")
        if name_of(error) in (ImportError.__name__, ModuleNotFoundError.__name__):
            missing = _NO_MODULE.search(str(error))
            return f"{missing[1]} is not among the course's packages, and grading has no others." if missing else ""
        return ""

    def _note(self, names: set[str], sentence: Any) -> None:
        for name in names:
            self._sentences[name] = sentence(name)

    def _because_newer(self) -> str:
        return f"; {self._newer}" if self._newer else ""


def _all_names(source: str) -> set[str]:
    tree = parsed(source)
    if tree is not None:
        return set().union(*map(_bound, tree.body))
    return {name for cell in read_cells([{"cell_type": "code", "source": source}]) for name in cell.defines}


def _bound(statement: ast.stmt) -> set[str]:
    """Names that a statement binds at the top level, in whatever branch."""
    names: set[str] = set()
    waiting: list[ast.AST] = [statement]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
            continue  # what is bound inside is its own
        if isinstance(node, ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        waiting += ast.iter_child_nodes(node)
    return names
