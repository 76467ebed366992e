"""Masters to pairs to handouts: nothing lost, nothing leaked, nothing different on a second build."""

import json
import re
from pathlib import Path

import nbformat
import pytest

from autograder.authoring.build import build, differences
from autograder.authoring.render import render, table
from autograder.course import CourseError, find_root, find_units
from autograder.notebooks import grade_id, read_master

# Said by bitsandbytes on processors with AVX-512 and bfloat16; unit 02 explains it.
OPTIONAL_KERNEL = "Failed to load CPU gemm_4bit_forward"
MARKERS = ("BEGIN SOLUTION", "END SOLUTION", "BEGIN HIDDEN TESTS", "END HIDDEN TESTS")


def lines_of(master: str) -> tuple[set[str], set[str]]:
    """(lines in solutions and hidden tests, all other lines) of a master."""
    secret, public, hidden = set(), set(), False
    for line in master.splitlines():
        if "### BEGIN" in line or "### END" in line:
            hidden = "### BEGIN" in line
            continue
        (secret if hidden else public).add(line.strip())
    return {line for line in secret if len(line) > 12}, public


def leaks(root: Path) -> list[str]:
    """Markers in what learners get, and secret lines of any master that the handout's own master doesn't show."""
    found = []
    units = {path: unit for unit in find_units(root) for path in (unit.release, *unit.translations)}
    lines = {path: lines_of(unit.master.read_text()) for path, unit in units.items()}
    secrets = set().union(*(secret for secret, _ in lines.values()))
    for path in sorted((root / "course").rglob("*")):
        if not path.is_file() or path.suffix not in (".ipynb", ".py", ".md", ".json", ".txt"):
            continue
        if path.suffix == ".ipynb":
            text = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells)
            kept = secrets - lines[path][1]
            found += [f"{path.name}: {line}" for line in text.splitlines() if line.strip() in kept]
        else:
            text = path.read_text()
        found += [f"{path.name}: {marker}" for marker in MARKERS if marker in text]
    return found


def test_a_build_changes_nothing(root):
    """A handout edited by hand, or a master changed without `make course`, must not be committed."""
    assert differences(root) == []


def test_no_solution_and_no_hidden_test_is_in_course(root):
    """The handout is public: one leaked line gives an exercise away."""
    assert leaks(root) == []


def test_the_leak_test_sees_a_leak(mini):
    """The test above must be able to fail: in lines without markers too."""
    build(mini)
    assert leaks(mini) == []
    handout = mini / "course" / "00-mini" / "mini.ipynb"
    notebook = nbformat.read(handout, as_version=4)
    notebook.cells[-1].source = "    return a + b  # the answer"
    nbformat.write(notebook, handout)
    assert leaks(mini) == ["mini.ipynb:     return a + b  # the answer"]


def test_no_master_is_in_course(root):
    """`CourseDirectory.ignore` must keep the .py masters out of the handout's folder."""
    assert list((root / "course").glob("[0-9]*/**/*.py")) == []


def test_units_json_lists_every_exercise_with_its_points(mini):
    """The learner's tables take titles and points from units.json, so it must agree with headings and metadata."""
    build(mini)
    unit = json.loads((mini / "course/fridge/notebook/units.json").read_text())["00-mini"]
    assert (unit["title"], unit["notebook"], list(unit["exercises"])) == ("Mini", "00-mini/mini.ipynb", ["add"])
    assert unit["exercises"]["add"].items() >= {"title": "1 · Add", "points": 3}.items()


def test_outputs_survive_where_the_code_is_unchanged(mini):
    """Otherwise each build would throw the rendered figures away."""
    build(mini)
    unit = find_units(mini)[0]
    notebook = nbformat.read(unit.pair, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [nbformat.v4.new_output("stream", text=f"output of {cell.id}")]
    nbformat.write(notebook, unit.pair)
    unit.master.write_text(unit.master.read_text().replace('add(1, 2), 3, "1 + 2"', 'add(2, 2), 4, "2 + 2"'))
    build(mini)
    outputs = {
        cell.id: cell.outputs for cell in nbformat.read(unit.pair, as_version=4).cells if cell.cell_type == "code"
    }
    assert outputs["add"][0].text == "output of add"
    assert outputs["add-test"] == []


def test_cell_ids_outlive_an_edit_elsewhere(mini):
    """Submissions are matched with the handout by cell; ids that count cells would all move."""
    build(mini)
    unit = find_units(mini)[0]
    before = [cell.id for cell in nbformat.read(unit.release, as_version=4).cells]
    unit.master.write_text(
        unit.master.read_text().replace(
            "# %% [markdown]\n# ### Ex", "# %% [markdown]\n# New.\n\n# %% [markdown]\n# ### Ex"
        )
    )
    build(mini)
    after = [cell.id for cell in nbformat.read(unit.release, as_version=4).cells]
    assert len(after) == len(before) + 1
    assert set(before) < set(after)


def test_badges_and_set_up_name_the_repository_of_pyproject(mini):
    """A fork changes one line."""
    project = mini / "pyproject.toml"
    address = "https://github.com/elephant-in-the-fridge/elephant-in-the-fridge"
    project.write_text(project.read_text().replace(address, "https://github.com/someone/fork"))
    build(mini)
    badges, _, setup, *_ = nbformat.read(find_units(mini)[0].release, as_version=4).cells
    assert "colab.research.google.com/github/someone/fork/blob/main/course/00-mini/mini.ipynb" in badges.source
    assert "mybinder.org/v2/gh/someone/fork/main?urlpath=lab/tree/course/00-mini/mini.ipynb" in badges.source
    assert "git+https://github.com/someone/fork" in setup.source
    assert "![" not in badges.source, "a picture from the net is a broken one without a network"


def test_a_file_that_no_master_makes_is_a_difference(mini):
    """A renamed unit leaves its old handout behind."""
    build(mini)
    (mini / "course" / "99-old").mkdir()
    (mini / "course" / "99-old" / "old.ipynb").write_text("{}")
    assert differences(mini) == ["course/99-old/old.ipynb"]


def test_rendering_keeps_outputs_and_says_time_and_memory(mini):
    """Guards against a pair without figures, and against a table that measures the wrong process."""
    master = mini / "solutions/00-mini/mini.py"
    ending = master.read_text()
    with pytest.raises(CourseError, match="grading must not run this cell"):
        render(mini)
    master.write_text(ending.replace('raise RuntimeError("grading must not run this cell")', 'print(len("x" * 10**9))'))
    (rendered,) = render(mini)
    assert "1000000000" in rendered.unit.pair.read_text()
    assert rendered.peak_bytes > 1e9
    assert "00-mini" in table([rendered])


def test_the_pairs_in_git_are_executed_without_errors(root):
    """The rendered pairs are what instructors read: outputs of every code cell's own code, and no traceback."""
    for unit in find_units(root):
        for cell in nbformat.read(unit.pair, as_version=4).cells:
            if cell.cell_type == "code":
                assert cell.execution_count, (
                    f"{unit.pair} has not been rendered since cell {cell.id} changed: make render"
                )
                assert not [output for output in cell.outputs if output.output_type == "error"]
                complaints = [output.text for output in cell.outputs if output.get("name") == "stderr"]
                assert not [text for text in complaints if not text.startswith(OPTIONAL_KERNEL)]


def test_unknown_units_and_folders_outside_a_course_are_sentences(mini, tmp_path):
    """Typing errors are answered with what there is."""
    with pytest.raises(CourseError, match="no unit 7; there are 00-mini"):
        find_units(mini, ["7"])
    with pytest.raises(CourseError, match="not inside a course"):
        find_root(tmp_path)


def test_grade_ids_reach_the_handout(root):
    """nbgrader finds the points by them."""
    for unit in find_units(root):
        master = [grade_id(cell) for cell in read_master(unit).cells if grade_id(cell)]
        handout = [grade_id(cell) for cell in nbformat.read(unit.release, as_version=4).cells if grade_id(cell)]
        assert handout == master


def test_the_last_cell_makes_the_file_to_hand_in(mini):
    """Guards against another unit's file, and against a file made whenever a submission is graded."""
    build(mini)
    cells = nbformat.read(find_units(mini)[0].release, as_version=4).cells
    last = [cell for cell in cells if cell.cell_type == "code"][-1]
    assert last.source == 'import fridge\n\nfridge.submit("00-mini")'
    assert "for-real" in last.metadata.tags
    assert "the map](../README.md#handing-in)" in cells[cells.index(last) - 1].source


def test_the_map_has_the_section_that_the_last_cell_names(root):
    """A link to a heading that was renamed opens the page's head."""
    assert "\n## Handing in\n" in (root / "course" / "README.md").read_text(encoding="utf-8")


def test_no_output_is_a_bare_dict(root):
    """Guards against Python's own form of a dict where a table belongs; `fridge.workbench.tables.facts` makes one.

    JSON is another matter: in unit 09 it is what is looked at.
    """
    for unit in find_units(root):
        for cell in nbformat.read(unit.pair, as_version=4).cells:
            for output in cell.get("outputs", []):
                data = {"text/plain": output.get("text", ""), **output.get("data", {})}
                text = "" if "text/html" in data else data["text/plain"]
                assert not re.search(r"(^|: )\{'", text, re.MULTILINE), f"{unit.name}: {text[:200]}"


def test_the_words_of_a_tick_come_from_the_master(mini):
    """Guards against ✓ that says nothing of what hidden tests look at, and kinds that are cut at a line's end."""
    build(mini)
    units = json.loads((mini / "course/fridge/notebook/units.json").read_text())
    listed = units["00-mini"]["exercises"]["add"]
    assert listed == {
        "title": "1 · Add",
        "points": 3,
        "looks_at": ["negative numbers", "numbers that are long, very long", "zero"],
        "because": "a sum has no order.",
    }
    handout = (mini / "course" / "00-mini" / "mini.ipynb").read_text()
    assert "Looks at" not in handout
    assert "Right because" not in handout
