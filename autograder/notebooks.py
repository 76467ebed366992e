"""Masters as notebooks: read, given a header and stable cell ids, asked for their graded cells."""

import hashlib
import re
from importlib import resources

import jupytext
import nbformat
from nbformat import NotebookNode

from autograder.authoring import navigation
from autograder.authoring.edition import ENGLISH, Edition
from autograder.course import Unit, repository, repository_slug

# Folded in JupyterLab and in Colab: it is nobody's first lesson.
SET_UP_METADATA = {"tags": ["set-up"], "jupyter": {"source_hidden": True}, "cellView": "form"}
FORM_TITLE = "# @title "  # Colab's
TEST_SUFFIX = "-test"
FOR_REAL = "for-real"  # tag of cells that run the real model: shown to the learner, skipped in grading
EXERCISE = re.compile(r"^### Exercise (\d+) · (.+) \((\d+) points?\)$", re.MULTILINE)  # heading: number, title, points
RAISES = "raises-exception"  # tag after whose errors Jupyter's Run All goes on; they still cost the points
KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


def read_master(unit: Unit) -> NotebookNode:
    """The master's own cells."""
    notebook = jupytext.read(unit.master)
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNELSPEC, "language_info": {"name": "python"}})
    return notebook


def with_header(unit: Unit, notebook: NotebookNode) -> NotebookNode:
    """Put badges and links before the title, the set-up cell behind it, and the cell that makes the file to hand in and
    the links at the end; tag the test cells and give every cell a lasting id."""
    badges, setup, handing_in, hand_in, links = header(unit)
    title, *rest = notebook.cells
    notebook.cells = [
        nbformat.v4.new_markdown_cell(badges),
        title,
        nbformat.v4.new_code_cell(setup, metadata=SET_UP_METADATA),
        *rest,
        nbformat.v4.new_markdown_cell(handing_in),
        nbformat.v4.new_code_cell(hand_in, metadata={"tags": [FOR_REAL]}),
        nbformat.v4.new_markdown_cell(links),
    ]
    for cell in filter(is_test, notebook.cells):
        cell.metadata.tags = [*cell.metadata.get("tags", []), RAISES]
    _set_ids(notebook)
    return notebook


def header(unit: Unit, edition: Edition = ENGLISH) -> tuple[str, str, str, str, str]:
    """The sources of the cells that `with_header` adds, from the first to the last, in an edition's words."""
    address = repository(unit.root)
    badges = edition.say(template("badges.md").strip()).format(
        repository=address,
        slug=repository_slug(unit.root),
        notebook=edition.release(unit).relative_to(unit.root).as_posix(),
    )
    setup = template("setup.py").replace("{repository}", address).replace("# {language}\n", edition.language_line)
    form, _, setup = setup.strip().partition("\n")
    hand_in = template("hand_in.py").replace("{unit}", unit.name)
    links = navigation.links(unit, edition)
    title = f"{FORM_TITLE}{edition.say(form.removeprefix(FORM_TITLE))}"
    told = edition.say(template("hand_in.md").strip())
    return f"{badges}\n\n{links}", f"{title}\n{setup}", told, hand_in.strip(), f"---\n\n{links}"


def grade_id(cell: NotebookNode) -> str | None:
    """nbgrader's id of a cell, None for a cell without."""
    return cell.metadata.get("nbgrader", {}).get("grade_id")


def is_test(cell: NotebookNode) -> bool:
    """Whether it gives an exercise's points by running."""
    own = cell.metadata.get("nbgrader", {})
    return bool(own.get("grade")) and not own.get("solution") and cell.cell_type == "code"


def is_task(cell: NotebookNode) -> bool:
    """Whether it asks for something that learners answer in cells of their own, and a person grades."""
    return bool(cell.metadata.get("nbgrader", {}).get("task"))


def is_by_hand(cell: NotebookNode) -> bool:
    """Whether a person gives its points: an answer in text or code, or a task."""
    own = cell.metadata.get("nbgrader", {})
    return is_task(cell) or bool(own.get("grade") and own.get("solution"))


def is_solution(cell: NotebookNode) -> bool:
    """Whether a learner writes the answer into this cell."""
    return bool(cell.metadata.get("nbgrader", {}).get("solution"))


def is_exercise(cell: NotebookNode) -> bool:
    """Whether a learner writes code into this cell that tests are run on."""
    return is_solution(cell) and not is_by_hand(cell)


def is_for_real(cell: NotebookNode) -> bool:
    """Whether grading skips this cell."""
    return FOR_REAL in cell.metadata.get("tags", [])


def exercise_name(cell: NotebookNode) -> str:
    """An exercise's name: its test cell's grade_id without `-test`; a question's for a person is its own grade_id."""
    return grade_id(cell).removesuffix(TEST_SUFFIX)


def exercise_points(notebook: NotebookNode) -> dict[str, float]:
    """Exercise -> points, in order; those that a person gives, too."""
    graded = (cell for cell in notebook.cells if is_test(cell) or is_by_hand(cell))
    return {exercise_name(cell): cell.metadata.nbgrader.points for cell in graded}


def tested_points(notebook: NotebookNode) -> dict[str, float]:
    """Exercise -> points, in order, of those that tests give."""
    return {exercise_name(cell): cell.metadata.nbgrader.points for cell in notebook.cells if is_test(cell)}


def by_hand_points(notebook: NotebookNode) -> dict[str, float]:
    """Question -> points, in order, of those that a person gives."""
    return {grade_id(cell): cell.metadata.nbgrader.points for cell in notebook.cells if is_by_hand(cell)}


def exercise_titles(notebook: NotebookNode) -> dict[str, str]:
    """Exercise -> number and title of its heading ("2 · Memory"); with its name where a heading has several tests."""
    tests: dict[str, list[str]] = {}
    heading = ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and (found := EXERCISE.search(cell.source)):
            heading = f"{found[1]} · {found[2]}"
        elif is_test(cell) or is_by_hand(cell):
            tests.setdefault(heading, []).append(exercise_name(cell))
    return {
        name: heading if len(names) == 1 else f"{heading}: {name}" for heading, names in tests.items() for name in names
    }


def looks_at(test: NotebookNode) -> list[str]:
    """The kinds of cases that a test's hidden part looks at, from its comment `# Looks at: one; another.`"""
    return [kind for part in _comment(test, "Looks at").removesuffix(".").split(";") if (kind := part.strip())]


def because(test: NotebookNode) -> str:
    """One sentence on why an answer is right, from the hidden part's comment `# Right because: …`; empty without."""
    return _comment(test, "Right because")


def stated_by(test: NotebookNode) -> list[str]:
    """Where the exercise states what each of those kinds asks: `# Stated by: "one sentence" | "another"`."""
    return [
        part.strip().removeprefix('"').removesuffix('"') for part in _comment(test, "Stated by").split(" | ") if part
    ]


def _comment(test: NotebookNode, begins: str) -> str:
    # A long one goes on in lines that begin with `#   `.
    hidden = test.source.partition("### BEGIN HIDDEN TESTS")[2]
    found = re.search(rf"^[ \t]*# {begins}: (.*(?:\n[ \t]*#   .*)*)", hidden, re.MULTILINE)
    return re.sub(r"\s*\n[ \t]*#   \s*", " ", found[1]).strip() if found else ""


def template(name: str) -> str:
    """The text of a file in `templates/`."""
    return resources.files("autograder").joinpath("templates", name).read_text(encoding="utf-8")


def _set_ids(notebook: NotebookNode) -> None:
    # From the grade_id or the text, so that a rebuild and an edit elsewhere leave the ids alone.
    taken: set[str] = set()
    for cell in notebook.cells:
        base = grade_id(cell) or hashlib.sha256(cell.source.encode()).hexdigest()[:12]
        base = re.sub(r"[^a-zA-Z0-9_-]", "-", base)[:60]
        unique, number = base, 2
        while unique in taken:
            unique, number = f"{base}-{number}", number + 1
        taken.add(unique)
        cell.id = unique
