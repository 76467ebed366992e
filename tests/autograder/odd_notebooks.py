"""Odd submissions whose notebook is odd: metadata, cells, the learner's own cells, another unit's."""

import copy
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell
from odd_submissions import ANSWERS, STUBS, grade_id, odd


def _at(notebook: NotebookNode, name: str) -> int:
    return next(index for index, cell in enumerate(notebook.cells) if grade_id(cell) == name)


def _cell(notebook: NotebookNode, name: str) -> NotebookNode:
    return notebook.cells[_at(notebook, name)]


def _lose_marks(notebook: NotebookNode) -> None:
    for number, cell in enumerate(notebook.cells):
        cell.metadata = nbformat.from_dict({})
        cell.id = f"vscode-{number}"


def _split(notebook: NotebookNode, name: str, line: int, marks: bool) -> None:
    index = _at(notebook, name)
    lines = notebook.cells[index].source.split("\n")
    second = copy.deepcopy(notebook.cells[index])
    second.id = "second-half"
    notebook.cells[index].source, second.source = "\n".join(lines[:line]), "\n".join(lines[line:])
    if not marks:
        second.metadata = nbformat.from_dict({})
    notebook.cells.insert(index + 1, second)


def _copied(notebook: NotebookNode, name: str, source: str) -> NotebookNode:
    cell = copy.deepcopy(_cell(notebook, name))
    cell.id, cell.source = "a-copy", source
    notebook.cells.insert(_at(notebook, name) + 1, cell)
    return cell


# --- metadata ----------------------------------------------------------------------------------------------------


@odd("the solved notebook")
def honest(notebook):
    pass


@odd("all metadata and ids lost (VS Code, an export and import)", says="lost nbgrader's marks")
def marks_lost(notebook):
    _lose_marks(notebook)


@odd("Colab's metadata in place of nbgrader's, no cell ids, format 4.0", says="lost nbgrader's marks")
def from_colab(notebook):
    notebook.metadata = nbformat.from_dict({"colab": {"provenance": []}, "kernelspec": {"name": "python3"}})
    notebook.nbformat_minor = 0
    for number, cell in enumerate(notebook.cells):
        cell.metadata = nbformat.from_dict({"id": f"Ab{number}", "outputId": "x", "cellView": "form"})
        del cell["id"]


@odd("marks lost, cells in reverse order", says="lost nbgrader's marks")
def marks_lost_and_reversed(notebook):
    _lose_marks(notebook)
    notebook.cells.reverse()


@odd("nbgrader metadata of an older version")
def old_schema(notebook):
    for cell in notebook.cells:
        if "nbgrader" in cell.metadata:
            cell.metadata.nbgrader = nbformat.from_dict({"grade_id": grade_id(cell), "schema_version": 1})


@odd("grade_ids that are lists, numbers, objects and nothing")
def odd_grade_ids(notebook):
    for cell, value in zip([c for c in notebook.cells if grade_id(c)], [[1], 7, {"a": 1}, None, [], 0.5], strict=False):
        cell.metadata.nbgrader.grade_id = value


@odd("solution cells tagged as cells that grading skips")
def tagged_for_real(notebook):
    for name in ANSWERS:
        _cell(notebook, name).metadata.tags = ["for-real"]


# --- cells -------------------------------------------------------------------------------------------------------


@odd("a solution cell deleted", loses=("scale",), says="`scale`: the cell is missing; it counts as not attempted")
def solution_deleted(notebook):
    del notebook.cells[_at(notebook, "scale")]


@odd("a solution cell emptied", loses=("scale",), says="`scale`: the cell is empty")
def solution_emptied(notebook):
    _cell(notebook, "scale").source = ""


@odd("all test cells deleted", says="`add-test`, `scale-test`, `stack-test`, `total-test`: the cell is missing")
def tests_deleted(notebook):
    notebook.cells = [cell for cell in notebook.cells if not (grade_id(cell) or "").endswith("-test")]


@odd("all of the course's cells deleted but the solutions", says="missing; the grader uses its own")
def only_answers(notebook):
    notebook.cells = [cell for cell in notebook.cells if grade_id(cell) in ANSWERS]


@odd(
    "the first half of the notebook deleted",
    loses=("add", "scale", "total"),
    says="`add`, `scale`: the cell is missing",
)
def half_deleted(notebook):
    del notebook.cells[: _at(notebook, "scale-test")]


@odd("all solutions moved to the end")
def solutions_at_the_end(notebook):
    answers = [cell for cell in notebook.cells if grade_id(cell) in ANSWERS]
    notebook.cells = [cell for cell in notebook.cells if cell not in answers] + answers


@odd("a copied solution cell, the answer in the copy")
def answer_in_the_copy(notebook):
    _copied(notebook, "add", ANSWERS["add"])
    _cell(notebook, "add").source = STUBS["add"]


@odd("a copied solution cell, the copy untouched")
def copy_untouched(notebook):
    _copied(notebook, "add", STUBS["add"])


@odd(
    "two answers with the same mark, the right one run last",
    says="`add`: 2 cells hold an answer; the one that its tests last ran with",
)
def two_answers_first_run_last(notebook):
    _copied(notebook, "add", "def add(a, b):\n    return a - b").execution_count = 3
    _cell(notebook, "add").execution_count = 30
    _cell(notebook, "add-test").execution_count = 31


@odd(
    "two answers with the same mark, never run: the last one is right",
    says="`add`: 2 cells hold an answer; the last one in front of its tests",
)
def two_answers_last_right(notebook):
    _copied(notebook, "add", ANSWERS["add"])
    _cell(notebook, "add").source = "def add(a, b):\n    return a - b"
    for cell in notebook.cells:
        cell.pop("execution_count", None)


@odd("an old answer kept at the end, all run from top to bottom", says="the one that its tests last ran with")
def backup_at_the_end(notebook):
    backup = _copied(notebook, "add", "def add(a, b):\n    return a - b")
    notebook.cells.remove(backup)
    backup.execution_count = 99
    notebook.cells.append(backup)


@odd("test cells copied")
def tests_copied(notebook):
    for name in ANSWERS:
        _copied(notebook, f"{name}-test", _cell(notebook, f"{name}-test").source).id = f"copy-of-{name}"


@odd(
    "a cell split between two functions (Ctrl+Shift+Minus), marks on both",
    says="`scale`: the answer is spread over 2 cells",
)
def split_between_functions(notebook):
    _split(notebook, "scale", 4, marks=True)


@odd("a cell split between two functions, the second without marks", says="`scale`: the answer is spread over 2 cells")
def split_between_functions_unmarked(notebook):
    _split(notebook, "scale", 4, marks=False)


@odd("a cell split inside a function, marks on both", says="`add`: the answer is spread over 2")
def split_inside_function(notebook):
    _split(notebook, "add", 2, marks=True)


@odd("a cell split in the middle of a function, the second without marks", says="`total`: the answer is spread over 2")
def split_inside_function_unmarked(notebook):
    _split(notebook, "total", 3, marks=False)


@odd("a class split between its methods, the second half without marks", says="`stack`: the answer is spread over 2")
def split_inside_class(notebook):
    _split(notebook, "stack", 6, marks=False)


@odd("a helper split off in front of its function, marks on both")
def split_off_helper(notebook):
    _cell(notebook, "add").source = "def plus(a, b):\n    return a + b\n\n\ndef add(a, b):\n    return plus(a, b)"
    _split(notebook, "add", 3, marks=True)


@odd("two exercises merged into the first one's cell", says="`scale`: the answer stands in the cell of `add`")
def merged_into_first(notebook):
    _cell(notebook, "add").source += "\n\n\n" + ANSWERS["scale"]
    del notebook.cells[_at(notebook, "scale")]


@odd("two exercises merged into the second one's cell", says="`add`: the answer stands in the cell of `scale`")
def merged_into_second(notebook):
    _cell(notebook, "scale").source += "\n\n\n" + ANSWERS["add"]
    del notebook.cells[_at(notebook, "add")]


@odd("an answer merged with its test cell")
def merged_with_test(notebook):
    test = _cell(notebook, "add-test")
    _cell(notebook, "add").source = test.source + "\n\n" + ANSWERS["add"]
    notebook.cells.remove(test)


@odd("the whole notebook merged into one cell without marks", says="lost nbgrader's marks")
def all_in_one_cell(notebook):
    source = "\n\n".join(
        cell.source for cell in notebook.cells if cell.cell_type == "code" and "raise" not in cell.source
    )
    return nbformat.v4.new_notebook(cells=[new_code_cell(source)])


@odd("an answer in a cell of its own below the untouched stub", says="`add`: the answer stands in a cell without")
def answer_in_own_cell(notebook):
    _cell(notebook, "add").source = STUBS["add"]
    notebook.cells.insert(_at(notebook, "add") + 1, new_code_cell(ANSWERS["add"]))


@odd("an answer written into a copy of another exercise's cell", says="`scale`: the answer stands in a cell without")
def answer_in_anothers_copy(notebook):
    _copied(notebook, "add", ANSWERS["scale"])
    del notebook.cells[_at(notebook, "scale")]


@odd("a solution cell changed to Markdown", says="`add`: the cell is not a code cell any more")
def solution_as_markdown(notebook):
    _cell(notebook, "add").cell_type = "markdown"


@odd("a solution cell changed to raw, marks lost", says="`stack`: the cell is not a code cell any more")
def solution_as_raw(notebook):
    _cell(notebook, "stack").cell_type = "raw"
    _lose_marks(notebook)


@odd("a test cell changed to Markdown")
def test_as_markdown(notebook):
    _cell(notebook, "add-test").cell_type = "markdown"


@odd(
    "a wrong answer, its test cell weakened",
    loses=("scale",),
    says="`scale-test`: the cell was changed; the grader uses its own",
)
def test_weakened(notebook):
    _cell(notebook, "scale").source = "def double(x):\n    return x\n\n\ndef halve(x):\n    return x"
    test = _cell(notebook, "scale-test")
    test.source = test.source.replace("(6, 1.5)", "(double(3), halve(3))")


@odd("a cell of one's own that claims 100 points", loses=("scale",))
def own_graded_cell(notebook):
    _cell(notebook, "scale").source = "def double(x):\n    return x\n\n\ndef halve(x):\n    return x"
    bonus = new_code_cell("100.0")
    bonus.metadata.nbgrader = {"grade": True, "grade_id": "bonus", "points": 100, "solution": False, "locked": True}
    notebook.cells.insert(3, bonus)


# --- the learner's own cells -------------------------------------------------------------------------------------


@odd("a helper in a cell of its own in front of an exercise")
def own_helper(notebook):
    notebook.cells.insert(_at(notebook, "add"), new_code_cell("def plus(a, b):\n    return a + b"))
    _cell(notebook, "add").source = "def add(a, b):\n    return plus(a, b)"


@odd("an import added to the course's import cell")
def import_in_course_cell(notebook):
    next(cell for cell in notebook.cells if cell.source == "import math").source = "import math\nimport operator"
    _cell(notebook, "add").source = "def add(a, b):\n    return operator.add(a, b)"


@odd("an import added to a cell that grading skips")
def import_in_skipped_cell(notebook):
    cell = next(cell for cell in notebook.cells if cell.source.startswith("model ="))
    cell.source = f"import operator\n\n{cell.source}"
    _cell(notebook, "add").source = "def add(a, b):\n    return operator.add(a, b)"


@odd("a function added to a test cell", says="`add-test`: the cell was changed")
def helper_in_test_cell(notebook):
    _cell(notebook, "add-test").source += "\n\n\ndef plus(a, b):\n    return a + b"
    _cell(notebook, "total").source = ANSWERS["total"].replace("add(", "plus(")


@odd("`!pip install` in a cell of its own and in an answer's cell", says="not run in grading, which has no network")
def pip_install(notebook):
    notebook.cells.insert(
        2, new_code_cell("%pip install -q einops\n!pip install \\\n  torch\n!{sys.executable} -m pip install x")
    )
    notebook.cells.insert(3, new_code_cell("%%bash\npip install einops"))
    _cell(notebook, "add").source = f"!pip install numpy\n{ANSWERS['add']}"


@odd("`%%time` on an answer's cell, other magics around")
def magics(notebook):
    _cell(notebook, "add").source = f"%%time\n{ANSWERS['add']}"
    _cell(notebook, "scale").source = f"%matplotlib inline\n{ANSWERS['scale']}\n%timeit -n1 -r1 double(2)\n?double"


@odd("cells of one's own that fail")
def own_failing_cells(notebook):
    notebook.cells.insert(2, new_code_cell("1 / 0"))
    notebook.cells.insert(5, new_code_cell("this is not Python"))
    notebook.cells.append(new_markdown_cell("def add(a, b): was my first idea"))


@odd("an answer that isn't Python any more", loses=("scale",))
def syntax_error(notebook):
    _cell(notebook, "scale").source += "\n    return ]"


@odd("an answer above the stub's `raise`, which was left in")
def raise_left_in(notebook):
    _cell(notebook, "add").source += '\n    # YOUR CODE HERE\n    raise NotImplementedError("not attempted yet")'


@odd("a renamed function", loses=("scale",))
def renamed_function(notebook):
    _cell(notebook, "scale").source = ANSWERS["scale"].replace("double", "twice")


@odd("an answer as an assignment, marks lost", says="lost nbgrader's marks")
def answer_as_assignment(notebook):
    _cell(notebook, "add").source = "import operator\n\nadd = operator.add"
    _lose_marks(notebook)


@odd(
    "a notebook of an older release: other docstrings, tests and text",
    says="the cell was changed; the grader uses its own",
)
def older_release(notebook):
    for cell in notebook.cells:
        cell.source = (
            cell.source.replace("### Exercise", "### Task").replace("Last in", "Newest in").replace("'1 + 2'", "'one'")
        )
        cell.id = f"older-{cell.id}"


# --- what is no notebook of this unit ----------------------------------------------------------------------------


@odd("no cells", refused="no cells with text")
def no_cells(notebook):
    notebook.cells = []


@odd("another unit's notebook", refused="This is 03-kv-cache's notebook")
def another_units(notebook):
    path = Path(__file__).resolve().parents[2] / "course" / "03-kv-cache" / "kv_cache.ipynb"
    return nbformat.read(path, as_version=4)


@odd("a stranger's notebook", refused="none of this unit's cells")
def a_strangers(notebook):
    notebook.cells = [new_code_cell("print('hello')"), new_markdown_cell("# My holidays")]


@odd("100,000 cells", refused="100000 cells, more than 20000")
def very_many_cells(notebook):
    cell = {"cell_type": "code", "source": "def add(a, b):", "metadata": {"nbgrader": {"grade_id": "add"}}}
    notebook.cells = [cell] * 100_000


@odd("10 MB of data in a cell", refused="characters, more than")
def data_in_a_cell(notebook):
    _cell(notebook, "add").source += "\nDATA = '" + "x" * 10**7 + "'"


@odd("brackets nested 100,000 deep, half a character and a NUL in cells")
def nasty_text(notebook):
    notebook.cells.insert(2, new_code_cell("x = " + "(" * 100_000))
    notebook.cells.insert(2, new_code_cell("y = " + "-" * 100_000 + "1"))
    _cell(notebook, "add").source += "  # \ud800"
    notebook.cells.append(new_code_cell("z = '\0'"))
