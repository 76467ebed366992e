"""What a learner reads in a notebook, message by message, and the same notebook with other words in their place.

A message is a paragraph of a Markdown cell (a list, a table, a fenced block is one), a docstring, or a comment of one
or more lines. Code stays as it is: but for docstrings, a translated cell has the syntax tree of the English one.
"""

import ast
import inspect
import io
import re
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from nbformat import NotebookNode

from autograder.notebooks import grade_id, is_test

Translate = Callable[[str], str]  # a message -> what stands in its place

NO_WORDS = re.compile(r"[^A-Za-z]*")  # rules, numbers, signs
# Comments that are read by tools, or by nobody: nbgrader's mark, Colab's form, rules of linters and editors.
NOT_FOR_READERS = re.compile(r"YOUR CODE HERE|@title|noqa|type:|fmt:|%%|!|#")
_FENCE = re.compile(r"^\s*(```|~~~)")
_DOCUMENTED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass(frozen=True)
class Message:
    """A message and where it stands.

    Attributes:
        kind: "text", "docstring" or "comment".
        cell: the cell's id.
    """

    text: str
    kind: str
    cell: str


def messages(notebook: NotebookNode) -> Iterator[Message]:
    """All messages of a notebook, in its order, one that stands in it several times as often."""
    for cell in filter(has_messages, notebook.cells):
        if cell.cell_type == "markdown":
            found = [("text", block) for block in _blocks(cell.source) if not NO_WORDS.fullmatch(block)]
        else:
            found = [(piece.kind, piece.text) for piece in _pieces(cell.source)]
        yield from (Message(text, kind, cell_name(cell)) for kind, text in found)


def translated(cell: NotebookNode, translate: Translate) -> str:
    """A cell's source with other messages."""
    if not has_messages(cell):
        return cell.source
    if cell.cell_type == "markdown":
        blocks = _blocks(cell.source)
        return "\n".join(block if NO_WORDS.fullmatch(block) else translate(block) for block in blocks)
    lines = cell.source.split("\n")
    for piece in reversed(_pieces(cell.source)):  # from the end, so that line numbers stay right
        new = translate(piece.text)
        if new != piece.text:
            lines[piece.first : piece.last + 1] = piece.written(new, lines[piece.first])
    return "\n".join(lines)


def has_messages(cell: NotebookNode) -> bool:
    """Whether its words are translated. A test cell is the same text in all languages, for grading goes by it."""
    return cell.cell_type == "markdown" or (cell.cell_type == "code" and not is_test(cell))


def _blocks(source: str) -> Iterator[str]:
    """Paragraphs and the empty lines between them; joined by line ends they are the source. A fence is one block."""
    block: list[str] = []
    fenced = False
    for line in source.split("\n"):
        ends = bool(_FENCE.match(line))
        if not fenced and (not line.strip() or ends):
            if block:
                yield "\n".join(block)
                block = []
            if not line.strip():
                yield line
                continue
        block.append(line)
        fenced ^= ends
        if ends and not fenced:
            yield "\n".join(block)
            block = []
    if block:
        yield "\n".join(block)


@dataclass(frozen=True)
class _Piece:
    """Words in a cell of code.

    Attributes:
        first, last: the lines that they take, from 0.
        column: where they begin, marks included.
    """

    kind: str
    text: str
    first: int
    last: int
    column: int

    def written(self, text: str, line: str) -> list[str]:
        """Other words as lines, in place of those that begin with `line`."""
        indent = " " * self.column
        if self.kind == "comment":
            before = [line[: self.column], *[indent] * text.count("\n")]
            return [f"{start}# {words}" for start, words in zip(before, text.split("\n"), strict=True)]
        body = "\n".join(indent + words if words else "" for words in text.split("\n")).lstrip()
        raw = line[self.column :].partition('"')[0]
        end = f"\n{indent}" if "\n" in text else ""
        return f'{indent}{raw}"""{body}{end}"""'.split("\n")


def _pieces(source: str) -> list[_Piece]:
    """A cell's docstrings and comments, in order."""
    return sorted([*_docstrings(source), *_comments(source)], key=lambda piece: piece.first)


def _docstrings(source: str) -> Iterator[_Piece]:
    try:
        tree = ast.parse(source)
    except SyntaxError:  # a cell of magics
        return
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            own = node.body[0].value
            yield _Piece("docstring", inspect.cleandoc(own.value), own.lineno - 1, own.end_lineno - 1, own.col_offset)


def _comments(source: str) -> Iterator[_Piece]:
    lines = source.split("\n")
    for first, last, column in _comment_blocks(source):
        text = "\n".join(line[column:].removeprefix("#").removeprefix(" ") for line in lines[first : last + 1])
        if not NOT_FOR_READERS.match(text) and not NO_WORDS.fullmatch(text):
            yield _Piece("comment", text, first, last, column)


def _comment_blocks(source: str) -> list[tuple[int, int, int]]:
    """(first line, last line, column) of each comment; lines of nothing but comment, one below the other, are one."""
    found: list[tuple[int, int, int]] = []
    try:
        tokens = [*tokenize.generate_tokens(io.StringIO(source).readline)]
    except (tokenize.TokenError, SyntaxError):
        return []
    lines = source.split("\n")
    for token in tokens:
        if token.type != tokenize.COMMENT:
            continue
        row, column = token.start[0] - 1, token.start[1]
        alone = not lines[row][:column].strip()
        if (
            found
            and alone
            and found[-1][1] == row - 1
            and found[-1][2] == column
            and not lines[row - 1][:column].strip()
        ):
            found[-1] = (found[-1][0], row, column)
        else:
            found.append((row, row, column))
    return found


def cell_name(cell: NotebookNode) -> str:
    """How a catalog calls a cell: its grade_id, or the id that its text gave it."""
    return grade_id(cell) or cell.id
