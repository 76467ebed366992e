"""A submitted notebook rebuilt from the handout: the handout's cells, metadata and order, and of the learner's only
what is the learner's: the answers, and cells of their own in their place.

So nothing that happened to the notebook (Colab, VS Code, a merge, a deleted or copied cell) costs points, and nothing
that was done to it (a changed test, a tag, a grade_id) earns any. Which cell is which,
`fridge.notebook.matching.regions` says.
"""

import ast
import copy
import functools
import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_raw_cell

from autograder import pythons
from autograder.notebooks import FOR_REAL, TEST_SUFFIX, is_for_real, is_test
from autograder.submissions.submission import Refused
from fridge.notebook import reveals, syllabus
from fridge.notebook.cells import Cell, UnreadableCells, cell_source, parsed, read_cells
from fridge.notebook.handouts import stubs_of
from fridge.notebook.matching.closest import closest
from fridge.notebook.matching.regions import Match, match
from fridge.notebook.updating.placing import placed

REPAIRS, REVEALED = "repairs", "revealed"  # keys in the rebuilt notebook's metadata
MOST_REPAIRS = 50
MOST_PICTURES, MOST_OF_NOTEBOOK = 100, 1_000  # in one cell, and in all: each is looked for in the text, and checked
PICTURES = frozenset(("image/png", "image/jpeg", "image/gif"))  # that a page shows; nothing else is kept beside a text
# What needs a network. It would wait for one that a grader doesn't have, and an answer in its cell with it.
_INSTALLS = re.compile(
    r"^(?P<indent>[ \t]*)(?P<line>[!%](?:\S*python[\d.]* +-m +)?(?:\{sys\.executable\} +-m +)?(?:uv +)?"
    r"(?:pip3?|conda|mamba|apt|apt-get|git|wget|curl|npm)\b(?:.*\\\n)*.*)$",
    re.MULTILINE,
)
_SHELL_CELL = re.compile(r"\A\s*%%(?:bash|sh|script|system|!)")
_NEEDS_NETWORK = re.compile(r"\b(?:pip3?|conda|apt|apt-get|git|wget|curl)\b")
_CONSTANT = (ast.Constant, ast.List, ast.Tuple, ast.Dict, ast.Set, ast.UnaryOp, ast.BinOp)
_CONSTANT += (ast.expr_context, ast.operator, ast.unaryop)
NOT_RUN = "not run in grading, which has no network:"


@dataclass
class Rebuilt:
    """A notebook to grade.

    Attributes:
        repairs: sentences for the learner and the instructor: what was odd, and what counts. Also in the metadata.
        revealed: grade_ids of tests whose points were given up by `fridge.reveal`. Also in the metadata.
    """

    notebook: NotebookNode
    repairs: list[str]
    revealed: list[str]


def rebuild(submitted: NotebookNode, handout: NotebookNode, *others: NotebookNode) -> Rebuilt:
    """The handout with a learner's answers and own cells; no outputs.

    Args:
        others: the handout in other languages; the learner's is the one that counts.

    Raises:
        Refused: nothing of this handout is in it, or more than any learner writes.
    """
    try:
        editions = (handout, *others)
        handout = editions[closest(submitted.cells, [edition.cells for edition in editions])]
        found = match(submitted.cells, handout.cells)
        cells = {cell.index: cell for cell in read_cells(submitted.cells)}
    except UnreadableCells as error:
        raise Refused(str(error)) from None
    _check_unit(cells, handout, found)
    notebook = copy.deepcopy(handout)
    notebook.cells = _assemble(submitted, cells, handout, found)
    repairs = found.oddities[:MOST_REPAIRS]
    if version := pythons.written_with(submitted.metadata):
        notebook.metadata["language_info"] = {"name": "python", "version": version}
    if newer := pythons.newer_than_here(submitted.metadata):
        repairs.append(f"The notebook was {newer}: a cell in newer syntax can't run here.")
    notebook.metadata[REPAIRS] = repairs
    revealed = notebook.metadata[REVEALED] = _revealed(cells.values(), handout)
    nbformat.validate(notebook)
    return Rebuilt(notebook, repairs, revealed)


def _revealed(cells: Iterable[Cell], handout: NotebookNode) -> list[str]:
    handed_out = read_cells(handout.cells)
    texts = {cell.text for cell in handed_out}
    own = (cell for cell in cells if cell.text not in texts)
    given_up = reveals.given_up(own, stubs_of("", handed_out))
    return [name + TEST_SUFFIX for stub in given_up for name in stub.exercises]


def _check_unit(cells: dict[int, Cell], handout: NotebookNode, found: Match) -> None:
    if not any(cell.text for cell in cells.values()):
        raise Refused("The notebook has no cells with text in them: ask the learner for the right file.")
    graded = {index for index, cell in enumerate(handout.cells) if "nbgrader" in cell.metadata}
    here = len(graded & (set(found.answers) | set(found.places.values())))
    other, there = _other_unit(_exercises(cells.values()), _exercises(read_cells(handout.cells)))
    if there > here:
        raise Refused(f"This is {other}'s notebook, handed in for another unit: ask the learner for the right one.")
    if not here and not found.places:
        raise Refused("The notebook has none of this unit's cells: ask the learner for the right one.")


def _exercises(cells: Iterable[Cell]) -> set[str]:
    marks = {mark for cell in cells for mark in (cell.grade_id, *cell.tests) if mark}
    return {mark.removesuffix(TEST_SUFFIX) for mark in marks}


def _other_unit(submitted: set[str], handout: set[str]) -> tuple[str, int]:
    """The course's other unit that has most of these exercises, and how many."""
    others = {unit: set(names) for unit, names in syllabus.units().items() if not handout & set(names)}
    return max(((unit, len(names & submitted)) for unit, names in others.items()), key=lambda u: u[1], default=("", 0))


def _assemble(
    submitted: NotebookNode, cells: dict[int, Cell], handout: NotebookNode, found: Match
) -> list[NotebookNode]:
    before, behind = _own_cells(submitted, cells, handout, found)
    assembled: list[NotebookNode] = []
    for index, original in enumerate(handout.cells):
        cell = copy.deepcopy(original)
        if index in found.answers and cell.cell_type == "code":
            cell.source = _without_installs(found.answers[index], found)
        elif index in found.answers:
            _write_text(cell, found.answers[index], _parts(index, submitted, cells, found))
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        assembled += [*before.get(index, []), cell, *behind.get(index, [])]
    taken = {cell.id for cell in handout.cells if "id" in cell}
    own = [cell for group in (*before.values(), *behind.values()) for cell in group]
    names = (name for number in range(1, len(own) + len(taken) + 1) if (name := f"own-{number}") not in taken)
    for cell, name in zip(own, names, strict=False):
        cell.id = name
    left = MOST_OF_NOTEBOOK
    for cell in assembled:
        left -= len(cell.get("attachments", ()))
        if left < 0:
            cell.pop("attachments", None)
    return assembled


def _parts(index: int, submitted: NotebookNode, cells: dict[int, Cell], found: Match) -> list[NotebookNode]:
    """The learner's cells that make up the answer in text of a handout's cell."""
    own = [place for place, answers in sorted(found.places.items()) if answers == index and place in cells]
    parts = {cells[place].source: submitted.cells[place] for place in own}
    return [part for source, part in parts.items() if source.strip() and source in found.answers[index]]


def _write_text(cell: NotebookNode, answer: str, parts: list[NotebookNode]) -> None:
    """An answer in text, with its pictures. Jupyter calls every picture image.png: a second one gets another name."""
    pictures: dict[str, Any] = {}
    for part in parts:
        source = cell_source(part)
        renamed = source
        for name, bundle in _attachments(part).get("attachments", {}).items():
            if len(pictures) == MOST_PICTURES:
                break
            free = _free_name(name, bundle, pictures)
            pictures[free] = bundle
            renamed = renamed.replace(f"attachment:{name}", f"attachment:{free}")
        answer = answer.replace(source, renamed, 1)
    cell.source = answer
    if pictures and cell.cell_type == "markdown":
        cell.attachments = pictures


def _free_name(name: str, bundle: Any, taken: dict[str, Any]) -> str:
    names = itertools.chain([name], (f"{number}-{name}" for number in range(2, len(taken) + 3)))
    return next(free for free in names if free not in taken or taken[free] == bundle)


Placed = dict[int, list[NotebookNode]]  # handout's cell -> the learner's own cells at its side


def _own_cells(
    submitted: NotebookNode, cells: dict[int, Cell], handout: NotebookNode, found: Match
) -> tuple[Placed, Placed]:
    superseded = (index for others in found.superseded.values() for index in others)
    own = {
        index: _own_cell(cells[index], submitted.cells[index], found) for index in sorted({*found.extras, *superseded})
    }
    own |= {index: _own_part(cells[index], handout.cells[found.places[index]], found) for index in found.changed}
    return placed(found, {index: cell for index, cell in own.items() if cell is not None})


def _own_cell(cell: Cell, original: NotebookNode, found: Match) -> NotebookNode | None:
    if cell.kind == "markdown":
        return new_markdown_cell(cell.source, **_attachments(original))
    if cell.kind != "code":
        return new_raw_cell(cell.source)
    source = _definitions(cell, "") if FOR_REAL in cell.tags else cell.source
    return new_code_cell(_without_installs(source, found)) if source else None


def _own_part(cell: Cell, version: NotebookNode, found: Match) -> NotebookNode | None:
    """What a changed cell of the handout has of the learner's own."""
    if cell.kind != "code" or version.cell_type != "code":
        return None
    if is_test(version) or is_for_real(version) or FOR_REAL in cell.tags:
        source = _definitions(cell, version.source)  # the rest is not run in grading, or is the course's test
    else:
        source = cell.source
    return new_code_cell(_without_installs(source, found)) if source else None


def _definitions(cell: Cell, known: str) -> str:
    """Imports, functions, classes and constants at the top level that the known text doesn't have."""
    tree = parsed(cell.source)
    if tree is None:
        return ""
    lines, have = cell.source.split("\n"), _statements(known)
    own = [_segment(node, lines) for node in tree.body if _is_definition(node)]
    return "\n".join(segment for segment in own if segment not in have)


@functools.lru_cache(maxsize=200)  # a handout's cell, of which a notebook may have a thousand changed copies
def _statements(known: str) -> frozenset[str]:
    tree, lines = parsed(known), known.split("\n")
    return frozenset(_segment(node, lines) for node in tree.body) if tree else frozenset()


def _is_definition(node: ast.stmt) -> bool:
    if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
        return all(isinstance(part, _CONSTANT) for part in ast.walk(node.value))
    return isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)


def _segment(node: ast.stmt, lines: list[str]) -> str:
    first = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])
    return "\n".join(lines[first - 1 : node.end_lineno])


def _without_installs(source: str, found: Match) -> str:
    if _SHELL_CELL.match(source) and _NEEDS_NETWORK.search(source):
        changed = "\n".join(f"# {NOT_RUN} {line}" for line in source.splitlines())
    else:
        changed = _INSTALLS.sub(_commented, source)
    sentence = "Lines that install or fetch something (`!pip install`) are not run in grading, which has no network."
    if changed != source and sentence not in found.oddities:
        found.oddities.append(sentence)
    return changed


def _commented(line: re.Match[str]) -> str:
    return f"{line['indent']}pass  # {NOT_RUN} {' '.join(line['line'].split())}"


def _attachments(cell: NotebookNode) -> dict[str, NotebookNode]:
    """A cell's pictures, whose names and bodies can be written to a file again."""
    attached = cell.get("attachments")
    kept = {}
    for name, bundle in itertools.islice(attached.items(), MOST_PICTURES) if isinstance(attached, dict) else ():
        found = bundle.items() if isinstance(bundle, dict) else ()
        pictures = {kind: body for kind, body in found if kind in PICTURES and isinstance(body, str) and body.isascii()}
        if pictures and isinstance(name, str) and name == name.encode("utf-8", "replace").decode():
            kept[name] = pictures
    return {"attachments": nbformat.from_dict(kept)} if kept else {}
