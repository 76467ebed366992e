"""Links between the notebooks, and the titles of exercises in the learner's tables."""

import re
import shutil
from pathlib import Path

import nbformat
import pytest

from autograder.authoring import navigation
from autograder.course import CourseError, find_units
from autograder.notebooks import exercise_points, exercise_titles, read_master, with_header

SLUG = "elephant-in-the-fridge/elephant-in-the-fridge"
COLAB = f"https://colab.research.google.com/github/{SLUG}/blob/main/course"


@pytest.fixture
def three(mini: Path) -> Path:
    """The mini course with two further units, titles and all."""
    for name, title in (("01-more", "01 · More"), ("02-last", "02 · Last")):
        folder = shutil.copytree(mini / "solutions" / "00-mini", mini / "solutions" / name)
        master = folder / "mini.py"
        master.write_text(master.read_text().replace("# # Mini", f"# # {title}"))
    return mini


def test_each_notebook_links_to_its_neighbours(three):
    """A learner at the end of a notebook must not have to look for the next one, on Colab neither."""
    first, middle, last = (navigation.links(unit) for unit in find_units(three))
    assert middle == (
        "[← Mini](../00-mini/mini.ipynb) · [Map of the course](../README.md) · [02 · Last →](../02-last/mini.ipynb) "
        f"(on Colab: [previous]({COLAB}/00-mini/mini.ipynb), "
        f"[map](https://github.com/{SLUG}/blob/main/course/README.md), [next]({COLAB}/02-last/mini.ipynb))"
    )
    assert "←" not in first
    assert "previous" not in first
    assert "→" not in last
    assert "next" not in last


def test_links_stand_at_the_head_and_at_the_foot(mini):
    """Both in the handout; the cells between them are the master's, in order."""
    (unit,) = find_units(mini)
    cells = with_header(unit, read_master(unit)).cells
    assert navigation.links(unit) in cells[0].source
    assert navigation.links(unit) in cells[-1].source
    assert len({cell.id for cell in cells}) == len(cells)


def test_a_master_without_a_title_is_a_sentence(mini):
    """Its link would have no text."""
    (unit,) = find_units(mini)
    unit.master.write_text(unit.master.read_text().replace("# # Mini", "# ## Mini"))
    with pytest.raises(CourseError, match="has no title: its first cell must begin with"):
        navigation.title(unit)


def test_every_link_of_the_handouts_leads_to_a_file(root):
    """A renamed notebook leaves dead links in its neighbours, on the map and in the README."""
    pages = {root / "README.md": (root / "README.md").read_text(), root / "course/README.md": ""}
    pages[root / "course/README.md"] = (root / "course/README.md").read_text()
    for unit in find_units(root):
        notebook = nbformat.read(unit.release, as_version=4)
        pages[unit.release] = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    for page, text in pages.items():
        links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not link.startswith(("http", "#", "mailto"))]
        assert links, page
        dead = [link for link in links if not (page.parent / link.partition("#")[0]).exists()]
        assert dead == [], page


def test_each_exercise_has_its_heading_as_title(root):
    """The learner's tables must name exercises as the notebook does, no two of a unit alike."""
    for unit in find_units(root):
        master = read_master(unit)
        titles = exercise_titles(master)
        assert titles.keys() == exercise_points(master).keys()
        assert len(set(titles.values())) == len(titles)
        headings = [cell.source for cell in master.cells if cell.cell_type == "markdown"]
        for title in titles.values():
            assert any(f"### Exercise {title.partition(': ')[0]}" in text for text in headings), title


def test_two_tests_under_one_heading_are_told_apart(mini):
    """Otherwise a table would show the same line twice."""
    (unit,) = find_units(mini)
    notebook = read_master(unit)
    second = nbformat.from_dict(notebook.cells[3])
    second.metadata.nbgrader.grade_id = "add-more-test"
    notebook.cells.append(second)
    assert exercise_titles(notebook) == {"add": "1 · Add: add", "add-more": "1 · Add: add-more"}
