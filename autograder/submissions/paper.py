"""A master's test cells, read and compiled once for all submissions."""

import ast
import builtins
import linecache
from dataclasses import dataclass
from types import CodeType
from typing import Any

from nbformat import NotebookNode

from autograder.isolation import imports
from autograder.notebooks import grade_id, is_exercise, is_test


@dataclass(frozen=True)
class Test:
    """One test cell.

    Attributes:
        names: what it takes from the learner.
    """

    name: str
    points: float
    names: tuple[str, ...]
    _source: str
    _code: CodeType | None

    def run(self, found: dict[str, Any]) -> None:
        """Execute it with the learner's names. Raises whatever it raises, a SyntaxError too."""
        code = self._code or _compiled(self.name, self._source)
        exec(code, {"__name__": f"test {self.name}", **found})


class Paper:
    """The tests of one notebook.

    Attributes:
        tests: by grade_id.
        exports: names that the exercises define: all that a test may take from a learner.
        imports: what the tests import.
        handout_imports: what the handout's own cells import.
    """

    def __init__(self, master: NotebookNode):
        self.exports = _exported_names(master)
        self.imports = imports.of_tests(master)
        self.handout_imports = imports.of_handout(master)
        self.tests = {grade_id(cell): self._test(cell) for cell in master.cells if is_test(cell)}

    def _test(self, cell: NotebookNode) -> Test:
        name = grade_id(cell)
        try:
            code = _compiled(name, cell.source)
        except (SyntaxError, ValueError):  # the course's fault, which is said when the cell's turn comes
            code = None
        names = tuple(sorted(self.exports & _global_names(code))) if code else ()
        return Test(name, float(cell.metadata.nbgrader.points), names, cell.source, code)


def _compiled(name: str, source: str) -> CodeType:
    file = f"<test {name}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)  # a message names the case
    return compile(source, file, "exec")


def _exported_names(master: NotebookNode) -> set[str]:
    names: set[str] = set()
    for cell in filter(is_exercise, master.cells):
        for node in ast.parse(cell.source).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                names.add(node.name)
            elif isinstance(node, ast.Assign):
                names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names - set(dir(builtins))


def _global_names(code: CodeType) -> set[str]:
    inner = [_global_names(constant) for constant in code.co_consts if isinstance(constant, CodeType)]
    return set(code.co_names).union(*inner)
