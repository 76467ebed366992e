"""Small mishaps that happen to a solved notebook and must cost nothing, in any combination.

Each changes a notebook in place by a `random.Random`; they are listed in the order in which they can happen to one
notebook without destroying what another did (a cell is reordered before it is split, not between its halves).
"""

import copy
from collections.abc import Callable
from random import Random

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

OWN = ["import operator", "def my_helper(x):\n    return x", "1 / 0", "%timeit 1", "!pip install einops", "x = ]"]


def reverse(notebook: NotebookNode, random: Random) -> None:
    """Sections in another order."""
    notebook.cells.reverse()


def move_a_cell(notebook: NotebookNode, random: Random) -> None:
    """A cell dragged elsewhere."""
    cell = notebook.cells.pop(random.randrange(len(notebook.cells)))
    notebook.cells.insert(random.randrange(len(notebook.cells) + 1), cell)


def delete_what_is_not_an_answer(notebook: NotebookNode, random: Random) -> None:
    """Some of the course's cells deleted."""
    notebook.cells = [cell for cell in notebook.cells if is_solution(cell) or random.random() < 0.7]


def copy_a_course_cell(notebook: NotebookNode, random: Random) -> None:
    """A test cell, say, copied with its mark."""
    cell = random.choice([cell for cell in notebook.cells if not is_solution(cell)])
    twin = copy.deepcopy(cell)
    twin.id = f"twin-{random.randrange(10**9)}"
    notebook.cells.insert(random.randrange(len(notebook.cells) + 1), twin)


def copy_of_the_stub(notebook: NotebookNode, random: Random) -> None:
    """An untouched copy of an exercise's cell beside the answer."""
    index = random.choice([index for index, cell in enumerate(notebook.cells) if is_solution(cell)])
    twin = copy.deepcopy(notebook.cells[index])
    twin.id, twin.source = f"stub-{random.randrange(10**9)}", twin.metadata.handed_out
    notebook.cells.insert(index + random.randrange(2), twin)


def answer_in_a_cell_of_ones_own(notebook: NotebookNode, random: Random) -> None:
    """The stub left as it is, the answer below it."""
    index = random.choice([index for index, cell in enumerate(notebook.cells) if is_solution(cell)])
    cell = notebook.cells[index]
    notebook.cells.insert(index + 1, new_code_cell(cell.source))
    cell.source = cell.metadata.handed_out


def merge_with_the_next(notebook: NotebookNode, random: Random) -> None:
    """Two exercises in one cell."""
    answers = [cell for cell in notebook.cells if is_solution(cell)]
    if len(answers) > 1:
        first, second = random.sample(answers, 2)
        first.source = f"{first.source}\n\n\n{second.source}"
        notebook.cells.remove(second)


def split_an_answer(notebook: NotebookNode, random: Random) -> None:
    """A cell split between its functions or methods, or inside one."""
    index = random.choice([index for index, cell in enumerate(notebook.cells) if is_solution(cell)])
    cell = notebook.cells[index]
    lines = cell.source.split("\n")
    ends = [number for number in range(2, len(lines)) if not lines[number - 1].strip() and lines[number].strip()]
    if not ends:
        return
    end = random.choice(ends)
    cell.metadata["half"] = True
    other = copy.deepcopy(cell)
    other.id = f"half-{random.randrange(10**9)}"
    cell.source, other.source = "\n".join(lines[:end]), "\n".join(lines[end:])
    notebook.cells.insert(index + 1, other)


def weaken_a_test(notebook: NotebookNode, random: Random) -> None:
    """A test cell with something else in it."""
    if tests := [cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("grade")]:
        cell = random.choice(tests)
        cell.source = random.choice(["pass", "100", f"{cell.source}\nprint('mine')"])


def tag(notebook: NotebookNode, random: Random) -> None:
    """Tags and folding on cells."""
    for cell in random.sample(notebook.cells, len(notebook.cells) // 2):
        cell.metadata["tags"] = ["for-real"]
        cell.metadata["collapsed"] = True


def change_types(notebook: NotebookNode, random: Random) -> None:
    """A whole cell made Markdown or raw by a key pressed in passing."""
    cells = [cell for cell in notebook.cells if "half" not in cell.metadata]
    random.choice(cells).cell_type = random.choice(["markdown", "raw"])


def lose_some_marks(notebook: NotebookNode, random: Random) -> None:
    """Metadata gone from some cells."""
    for cell in notebook.cells:
        if random.random() < 0.3:
            cell.metadata = nbformat.from_dict({"colab": {"base_uri": "x"}})


def lose_all_marks(notebook: NotebookNode, random: Random) -> None:
    """Metadata and ids gone."""
    for number, cell in enumerate(notebook.cells):
        cell.metadata, cell.id = nbformat.from_dict({}), f"new-{number}"


def windows(notebook: NotebookNode, random: Random) -> None:
    """Line ends and spaces at them changed."""
    for cell in notebook.cells:
        cell.source = cell.source.replace("\n", random.choice(["\r\n", " \n", "\n"]))


def add_own_cells(notebook: NotebookNode, random: Random) -> None:
    """Cells of one's own, good and bad, and empty ones."""
    for source in random.sample(OWN, 3):
        position = random.randrange(len(notebook.cells) + 1)
        inside = position < len(notebook.cells) and notebook.cells[position].source[:1] in (" ", "\t")
        if not inside:  # not between the halves of a function
            notebook.cells.insert(position, new_code_cell(source))
    notebook.cells.append(new_markdown_cell("my notes: def f(x) is a function"))
    notebook.cells.insert(0, new_code_cell(""))


MISHAPS: list[Callable[[NotebookNode, Random], None]] = [
    *(reverse, move_a_cell, delete_what_is_not_an_answer, copy_a_course_cell, merge_with_the_next),
    *(copy_of_the_stub, answer_in_a_cell_of_ones_own, split_an_answer, weaken_a_test, tag, change_types),
    *(lose_some_marks, lose_all_marks, windows, add_own_cells),
]


def befall(solved: NotebookNode, handout: NotebookNode, mishaps: list[int], random: Random) -> NotebookNode:
    """What mishaps, by number, make of a solved notebook."""
    notebook = copy.deepcopy(solved)
    for cell, original in zip(notebook.cells, handout.cells, strict=True):
        if is_solution(cell):
            cell.metadata["handed_out"] = original.source
    for number in sorted(mishaps):
        if any(is_solution(cell) for cell in notebook.cells):
            MISHAPS[number](notebook, random)
    return notebook


def is_solution(cell: NotebookNode) -> bool:
    """Whether it is marked as an exercise's cell."""
    return cell.metadata.get("nbgrader", {}).get("solution") is True
