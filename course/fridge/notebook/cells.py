"""A notebook's cells in a plain form, read from whatever an editor or a stranger made of them.

Nothing here executes a cell's text, and all work is bounded: a notebook may come from anybody.
"""

import ast
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property
from typing import Any

MAX_CELLS = 2_000  # with text in them; the largest unit has 79
MAX_CHARACTERS = 5_000_000  # of code; the largest unit has 60,000. Text may hold pictures, and is bounded by its file
FOR_REAL = "for-real"  # tag of the handout's cells that grading skips
MAX_PARSED = 200_000  # characters that are given to Python's parser
MAX_QUOTED = 20_000  # characters of a cell of text that may be code whose cell type was changed
SHORT = 200  # characters up to which two cells are also compared letter by letter
LETTERS_BY_CHANCE = 0.3  # of the letters that two unrelated lines of code have in common
STUB = 'raise NotImplementedError("not attempted yet")'  # what nbgrader_config.py puts into an empty region
_COMMON = {STUB, "# YOUR CODE HERE", '"""', "Args:", "Returns:", "Raises:"}  # lines that many exercises have
_FUNCTION = re.compile(r"^(?:(?:async[ \t]+)?def|class)[ \t]+(\w+)", re.MULTILINE)
_ASSIGNED = re.compile(r"^(\w+)[ \t]*(?::[^=\n]*)?=(?!=)", re.MULTILINE)
# Cells whose text is for something else than the notebook's Python: nothing in them defines a name here.
_ELSEWHERE = re.compile(
    r"\s*%%(?:writefile|file|bash|sh|script|system|sx|!|cmd|html|HTML|javascript|js|latex|markdown|svg|SVG|perl|ruby|pypy"
    r"|python[23]?)(?![\w.])"
)
_TESTED = re.compile(r"^with exercise\(\s*[\"']([^\"'\n]+)[\"']", re.MULTILINE)


class UnreadableCells(ValueError):
    """A notebook's cells are more than any learner writes; the message says what."""


@dataclass(frozen=True)
class Cell:
    """One cell, of whatever form a stranger gave it."""

    index: int
    kind: str
    source: str
    grade_id: str | None
    id: str | None
    ran: int | None  # the kernel's count when it was last executed
    solution: bool
    by_hand: bool  # a person grades what stands in it
    test: bool
    tags: frozenset[str]

    @cached_property
    def lines(self) -> Counter[str]:
        """Its lines without indentation; those that say nothing are left out."""
        lines = (line.strip() for line in self.source.splitlines())
        return Counter(line for line in lines if line and line not in _COMMON)

    @cached_property
    def line_count(self) -> int:
        """How many they are."""
        return self.lines.total()

    @cached_property
    def text(self) -> str:
        """The source without what editors change: line ends, spaces at their ends, empty lines around it."""
        return "\n".join(line.rstrip() for line in self.source.strip().splitlines())

    @cached_property
    def functions(self) -> frozenset[str]:
        """Functions and classes defined at the top level, in code that may not even parse."""
        return frozenset() if self.is_for_others else frozenset(_FUNCTION.findall(self.source))

    @cached_property
    def defines(self) -> frozenset[str]:
        """All names bound at the top level."""
        return self.functions if self.is_for_others else self.functions | set(_ASSIGNED.findall(self.source))

    @cached_property
    def is_for_others(self) -> bool:
        """Whether it writes a file, say, or runs in a shell: none of its names is the notebook's."""
        return _ELSEWHERE.match(self.source) is not None

    @cached_property
    def is_python(self) -> bool:
        """Whether Python could read it, whatever kind of cell it is; of what is no code only what is short enough."""
        return (self.kind == "code" or len(self.source) <= MAX_QUOTED) and parsed(self.source) is not None

    @cached_property
    def tests(self) -> frozenset[str]:
        """Exercises that its text tests."""
        return frozenset(_TESTED.findall(self.source))


def read_cells(cells: Sequence[Any]) -> list[Cell]:
    """Cells in a plain form.

    Raises:
        UnreadableCells: more than MAX_CELLS with text, or more than MAX_CHARACTERS of code.
    """
    found = [_read(index, cell) for index, cell in enumerate(cells)]
    written = [cell for cell in found if cell.source.strip()]
    size = sum(len(cell.source) for cell in written if cell.kind == "code")
    if len(written) > MAX_CELLS:
        raise UnreadableCells(f"The notebook has {len(written)} cells, more than {MAX_CELLS}: have a look at it.")
    if size > MAX_CHARACTERS:
        raise UnreadableCells(
            f"The notebook's code has {size} characters, more than {MAX_CHARACTERS}: ask for it without data in them."
        )
    return [cell for cell in found if cell.source.strip() or cell.grade_id]


def cell_source(cell: Mapping[str, Any]) -> str | None:
    """A cell's text with plain line ends; None if it has none."""
    source = cell.get("source", cell.get("input"))
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        source = "".join(source)
    if not isinstance(source, str):
        return None
    # Half a character (a lone surrogate) is no text: it could not be written to a file again.
    return source.replace("\r\n", "\n").replace("\r", "\n").encode("utf-8", "replace").decode()


def parsed(source: str) -> ast.Module | None:
    """The syntax tree of a stranger's text; None if Python can't read it, for whatever reason."""
    if len(source) > MAX_PARSED:
        return None
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _read(index: int, cell: Any) -> Cell:
    cell = cell if isinstance(cell, Mapping) else {}
    metadata = _mapping(cell.get("metadata"))
    nbgrader = _mapping(metadata.get("nbgrader"))
    tags, ran = metadata.get("tags"), cell.get("execution_count")
    return Cell(
        index,
        _string(cell.get("cell_type")) or "raw",
        cell_source(cell) or "",
        _string(nbgrader.get("grade_id")),
        # VS Code and Colab put ids into the metadata, too.
        _string(cell.get("id")) or _string(metadata.get("id")),
        ran if type(ran) is int else None,
        nbgrader.get("solution") is True,
        nbgrader.get("solution") is True and nbgrader.get("grade") is True,
        nbgrader.get("grade") is True and nbgrader.get("solution") is not True,
        frozenset(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else frozenset(),
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _string(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def likeness(one: Cell, other: Cell) -> float:
    """Share of lines in common, 0 to 1; of letters where both are short."""
    few, many = sorted((one, other), key=lambda cell: cell.line_count)
    lines = few.line_count + many.line_count
    share = 2 * (few.lines & many.lines).total() / lines if lines else 0.0
    if share == 0.0 and 0 < len(one.text) <= SHORT and 0 < len(other.text) <= SHORT:
        matcher = SequenceMatcher(None, one.text, other.text, autojunk=False)
        share = max(0.0, matcher.ratio() - LETTERS_BY_CHANCE)
    return share
