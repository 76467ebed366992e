"""Which exercises a notebook gives up: its calls of `fridge.reveal`, read from the text of its cells.

The grader and the learner's own tables read them by the same code. Nothing is executed; a call counts if it names the
exercise itself (`fridge.reveal("rope")`). One in a string or a comment is none, and so is a function of the learner's
own that has the same name.
"""

import ast
import re
from collections.abc import Iterable, Iterator

from fridge.notebook.cells import Cell, parsed
from fridge.notebook.handouts import Stub, find

LIBRARY, CALL = "fridge", "reveal"
_INNER = ("notebook", "revealing")  # modules below the library's through which the same can be called
MOST_PASSES, MOST_NAMES = 8, 200  # through which a call is followed under other names; no honest one takes three
MAX_READ = 300_000  # characters of cells that are looked at; the largest unit has 60,000
SAID = "revealed: its points were given up; take the call out of the notebook and solve it to have them"
_TIMED = re.compile(r"^([ \t]*)%%?(?:time|timeit|capture|prun)\b.*?(?=$|\bfridge\.|\breveal\()", re.MULTILINE)
_MAGIC = re.compile(r"^([ \t]*)[%!].*$|^.*\?$", re.MULTILINE)
_OTHER_LANGUAGE = re.compile(r"\A\s*%%(?!time\b|timeit\b|capture\b|prun\b)")


def given_up(cells: Iterable[Cell], stubs: Iterable[Stub]) -> list[Stub]:
    """The stubs among these whose reference the cells ask for, in the order of the handout."""
    stubs = list(stubs)
    asked = {found.grade_id for name in called(cells) if (found := find(name, stubs))}
    return [stub for stub in stubs if stub.grade_id in asked]


def called(cells: Iterable[Cell]) -> set[str]:
    """The exercises that code cells name in calls of `fridge.reveal`."""
    texts, left = [cell.source for cell in cells if cell.kind == "code"], MAX_READ
    nodes: list[ast.AST] = []
    words, new = {LIBRARY}, {CALL}
    modules, functions = {LIBRARY}, set()
    for _ in range(MOST_PASSES):  # a name for the call is one in every cell: they may have run in any order
        if not new or len(words | new) > MOST_NAMES:
            break
        found = [text for text in texts if any(word in text for word in new)]
        texts = [text for text in texts if not any(word in text for word in new)]
        while sum(map(len, found)) > left:
            found.pop()
        left -= sum(map(len, found))
        nodes += [node for text in found if (tree := _tree(text)) is not None for node in ast.walk(tree)]
        words |= new
        for node in nodes:
            _take_names(node, modules, functions)
        new = (modules | functions) - words
    calls = (node for node in nodes if isinstance(node, ast.Call) and _is_reveal(node.func, modules, functions))
    return {name for call in calls for name in _names(call)}


def _take_names(node: ast.AST, modules: set[str], functions: set[str]) -> None:
    """Add what a statement binds to the library, and to the call."""
    if isinstance(node, ast.Import):
        modules |= {name.asname for name in node.names if name.name.split(".")[0] == LIBRARY and name.asname}
    elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == LIBRARY:
        # A star brings it from two modules alone; a learner's own `reveal` may stand below another one's.
        asked = (CALL, "*") if node.module in (LIBRARY, ".".join((LIBRARY, *_INNER))) else (CALL,)
        functions |= {name.asname or CALL for name in node.names if name.name in asked}
        modules |= {name.asname or name.name for name in node.names if name.name in _INNER}
    elif isinstance(node, ast.Assign) and _is_reveal(node.value, modules, functions):
        functions |= {target.id for target in node.targets if isinstance(target, ast.Name)}


def _tree(text: str) -> ast.Module | None:
    if _OTHER_LANGUAGE.match(text):
        return None
    return parsed(text) or parsed(_MAGIC.sub(r"\1pass", _TIMED.sub(r"\1", text)))


def _is_reveal(node: ast.expr, modules: set[str], functions: set[str]) -> bool:
    if isinstance(node, ast.Name):
        return node.id in functions
    owner = node
    while isinstance(owner, ast.Attribute):
        owner = owner.value
    return isinstance(node, ast.Attribute) and node.attr == CALL and isinstance(owner, ast.Name) and owner.id in modules


def _names(call: ast.Call) -> Iterator[str]:
    first = call.args[:1] + [keyword.value for keyword in call.keywords if keyword.arg == "exercise"]
    yield from (node.value for node in first if isinstance(node, ast.Constant) and isinstance(node.value, str))
