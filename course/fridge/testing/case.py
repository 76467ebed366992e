"""Which case a test was at when the learner's code raised, in the words that the test has for it.

Those words stand in the expectation that asked, or in the next one: `expect_equal(rope(x, 3), …, "from position 3")`.
A test's own function that has a parameter `what` is an expectation, too.
"""

import ast
import inspect
import linecache
import re
from types import FrameType, FunctionType
from typing import Any

from fridge.notebook.cells import parsed

WHAT = "what"  # the parameter of expectations that names the case
_OF_A_VALUE = re.compile(r"what \S+ returns")  # no case; the next words are
_PLAIN = (int, float, bool, str)
_OFTEN_LONG = (ast.Call, ast.Attribute, ast.Subscript, ast.NamedExpr, ast.Pow, ast.LShift)
_BLOCKS = ("body", "orelse", "handlers", "finalbody")


def case_of(error: BaseException, libraries: tuple[str, ...]) -> str:
    """The case's name; empty where the test has none, or its source isn't known.

    Args:
        libraries: beginnings of files that are neither the test's nor the learner's.
    """
    found = _of_the_test(error, libraries)
    if found is None:
        return ""
    frame, line = found
    tree = parsed("".join(linecache.getlines(frame.f_code.co_filename)))
    statements = _from(tree.body, line) if tree else []
    calls = (node for statement in statements for node in ast.walk(statement) if isinstance(node, ast.Call))
    named = (words for call in calls if (words := _words(call, frame)) is not None)
    first = next(named, "")
    return next(named, first) if _OF_A_VALUE.fullmatch(first) else first


def _of_the_test(error: BaseException, libraries: tuple[str, ...]) -> tuple[FrameType, int] | None:
    # Outermost first; the innermost of the test's own, which may be in a function of the cell.
    trace, found = error.__traceback__, None
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if not name.startswith(libraries):
            if found is not None and name != found[0].f_code.co_filename:
                break
            found = trace.tb_frame, trace.tb_lineno
        trace = trace.tb_next
    return found


def _from(block: list[ast.stmt], line: int) -> list[ast.stmt]:
    """The innermost statement at a line and those that follow it in its block."""
    for place, statement in enumerate(block):
        if statement.lineno <= line <= (statement.end_lineno or line):
            inner = [node for name in _BLOCKS for node in getattr(statement, name, [])]
            return _from(inner, line) or block[place:]
    return []


def _words(call: ast.Call, frame: FrameType) -> str | None:
    if not isinstance(call.func, ast.Name):
        return None
    function = {**frame.f_globals, **frame.f_locals}.get(call.func.id)
    if not inspect.isfunction(function) or not _expects(function, frame):
        return None
    names = list(inspect.signature(function).parameters)
    if WHAT not in names:
        return None
    given = {keyword.arg: keyword.value for keyword in call.keywords} | dict(zip(names, call.args, strict=False))
    return _evaluated(given[WHAT], {**frame.f_globals, **frame.f_locals}) if WHAT in given else None


def _expects(function: FunctionType, frame: FrameType) -> bool:
    # Not a learner's, whose parameters may have any names.
    if str(function.__module__).startswith("fridge.testing"):
        return True
    return function.__code__.co_filename == frame.f_code.co_filename


def _evaluated(node: ast.expr, known: dict[str, Any]) -> str | None:
    # Only of what the test made itself: a learner's object could say anything, or nothing for a long time.
    if any(isinstance(part, _OFTEN_LONG) for part in ast.walk(node)):
        return None
    used = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
    if not all(type(known.get(name)) in _PLAIN for name in used):
        return None
    try:
        return str(eval(compile(ast.Expression(node), "<case>", "eval"), {name: known[name] for name in used}))
    except Exception:  # a learner's text where the words want a number
        return None
