"""What tests and the library say when they run: messages with places to fill, from the masters' test cells and by hand.

A test cell's text is the same in all languages: its words are looked up when they are shown, by
`fridge.notebook.language`.
"""

import ast
import re
from collections.abc import Iterator

from nbformat import NotebookNode

from autograder.notebooks import because, exercise_titles, is_test, looks_at
from autograder.translating.messages import Message, cell_name

KIND = "speech"
# A sentence or a phrase; a bare word may be a name, a dtype, a key.
_WORDS = re.compile(r"[A-Za-z]{2,} [A-Za-z]|[a-z]{3,}")
# Lines of the library, as they are shown. tests/fridge/test_language.py meets those that a learner meets every hour.
LIBRARY = (
    "✗ {name}: not right yet.",
    "✗ {name}: your code raised {error}",
    "○ {name}: not attempted yet ({worth}). Fill in the exercise's cell and run it.",
    "○ {name}: not attempted yet, or it calls what isn't ({worth}). Fill in the exercise's cell and run it.",
    "– {name}: skipped, for {package} is not installed here. It costs no points ({worth}).",
    "✓ {name}: all tests pass, the hidden ones too ({worth}).",
    "✓ {name}: the tests in this cell pass. Its {worth} counts when the hidden tests pass, too.",
    "✓ {name}: the tests in this cell pass. Its {worth} count when the hidden tests pass, too.",
    "✓ {name}: the tests in this cell pass. Its {worth} counts when the hidden tests pass, too; they look at: {kinds}.",
    "✓ {name}: the tests in this cell pass. Its {worth} count when the hidden tests pass, too; they look at: {kinds}.",
    "Right because: {reason}",
    "Hidden tests look at: {kinds}.",
    "{kind}; {kinds}",
    "expected: {expected}",
    "got:      {value}",
    "likely cause: {cause}",
    "Likely cause: a `return` is missing.",
    "Likely cause: the exercise's cell has not been run, or a name in it is misspelt.",
    "in the case: {case}",
    "First do “{title}”: your answer here may call it, and its own tests don't pass yet.",
    "{function}() changes its argument `{argument}`",
    "expected: what it is given stays as it was",
    "None (is a `return` missing?)",
    "{case}, at {place}",
    "line {number}, in {function}:  {code}",
    "1 point",
    "{number} points",
    "{points} of {total} points by the visible tests. Hidden tests look further at grading.",
    "{points} of {total} points by the visible tests. Hidden tests look further at grading. "
    "A person gives {more} more.",
    "Exercise",
    "Points",
    "Outcome",
    "right",
    "wrong",
    "not attempted",
    "skipped",
    "run again",
    "revealed",
    "graded by a person",
)


def of_library() -> list[Message]:
    """What the library says, whichever the unit."""
    return [Message(text, KIND, "library") for text in LIBRARY]


def of_tests(master: NotebookNode) -> list[Message]:
    """What a master's tests say, hidden ones too, and what is said of its exercises."""
    found = [Message(title, KIND, "titles") for title in exercise_titles(master).values()]
    for cell in filter(is_test, master.cells):
        own = [*_strings(cell.source), *looks_at(cell), because(cell)]
        found += [Message(text, KIND, cell_name(cell)) for text in own if text]
    return [*{message.text: message for message in found}.values()]


def visible(master: NotebookNode) -> set[str]:
    """Those that learners may have: words of hidden tests stand nowhere but in the tests."""
    shown = set(exercise_titles(master).values())
    for cell in filter(is_test, master.cells):
        before, _, rest = cell.source.partition("### BEGIN HIDDEN TESTS")
        behind = rest.partition("### END HIDDEN TESTS")[2]
        shown |= {*_strings(before + behind), *looks_at(cell), because(cell)}
    return shown


def _strings(source: str) -> Iterator[str]:
    tree = ast.parse(source)
    within: set[int] = set()  # what is a part of a longer string
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            within |= {id(part) for part in ast.walk(node) if part is not node}
    for node in ast.walk(tree):
        text = "" if id(node) in within else _text(node)
        if _WORDS.search(text) and (" " in text or isinstance(node, ast.JoinedStr)):
            yield text


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        parts = (part.value if isinstance(part, ast.Constant) else _place(part) for part in node.values)
        return "".join(parts)
    return ""


def _place(part: ast.FormattedValue) -> str:
    return "{" + ast.unparse(part.value).replace("{", "(").replace("}", ")") + "}"
