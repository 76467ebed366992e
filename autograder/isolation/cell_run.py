"""A learner's cell, run with IPython's semantics, and on behind a statement that fails.

A notebook is written on another machine: a line that mounts a drive, asks for input or imports a package can fail here
though it worked there, and the functions below it must not be lost with it. Where the learner's own code says stop
(`raise`, `sys.exit()`), it stops.
"""

import ast
import re
from collections.abc import Callable
from types import TracebackType
from typing import Any

# They run the rest of the cell as one statement, and so lose all of it at the first line that fails.
_WHOLE_CELL = re.compile(r"\A\s*%%(?:time|capture)[ \t]*\n")
MOST_FAILURES = 50  # statements of one cell; a cell that goes on failing has nothing to say


def run_through(shell: Any, source: str, failed: Callable[[BaseException, int], None]) -> None:
    """Run a cell, and what stands behind a failing statement, too.

    Args:
        shell: IPython's.
        source: the cell's text.
        failed: told of each error and the line of the cell in which it arose, 0 if nothing of the cell ran.
    """
    rest: str | None = _WHOLE_CELL.sub("pass\n", source, count=1)
    for _ in range(MOST_FAILURES):
        result = shell.run_cell(rest, store_history=True)
        error = result.error_before_exec or result.error_in_exec
        if error is None:
            return
        place = None if result.error_before_exec else _place(error.__traceback__, shell.user_ns)
        failed(error, place[0] if place else 0)
        rest = _behind(shell.transform_cell(rest), place) if place else None
        if rest is None or not isinstance(error, Exception):
            return


def _place(trace: TracebackType | None, names: dict[str, Any]) -> tuple[int, int] | None:
    """(line, column in bytes) at the cell's top level where the error arose."""
    while trace is not None:
        frame = trace.tb_frame
        if frame.f_locals is names:  # of the cell itself, not of a function that it called
            positions = list(frame.f_code.co_positions())[trace.tb_lasti // 2]
            return trace.tb_lineno, positions[2] or 0
        trace = trace.tb_next
    return None


def _behind(text: str, place: tuple[int, int]) -> str | None:
    """The cell from the statement behind the one that failed, its lines where they were; None if it is the last."""
    body = ast.parse(text).body
    at = max((index for index, node in enumerate(body) if _start(node) <= place), default=None)
    if at is None or at + 1 == len(body) or isinstance(body[at], ast.Raise):
        return None
    line, column = _start(body[at + 1])
    lines = text.split("\n")[line - 1 :]
    lines[0] = lines[0].encode()[column:].decode()
    # IPython drops empty lines in front of a cell, and errors would name other lines than the learner's.
    return "\n".join(["pass"] * (line > 1) + [""] * (line - 2) + lines)


def _start(node: ast.stmt) -> tuple[int, int]:
    first = min([node, *getattr(node, "decorator_list", [])], key=lambda part: (part.lineno, part.col_offset))
    # A decorator's expression begins behind its @.
    return first.lineno, first.col_offset - (first is not node)
