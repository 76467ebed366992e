"""A learner who is stuck, in a real browser: a function that is older than its cell, a revealed exercise, questions.

The start page's own exercise is the one; words for ✓ and questions are made up here, for they change with the masters.
"""

import itertools
import json
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest
from learner_page import RIGHT_GIGABYTES, START, WRONG_GIGABYTES, Notebook, contrast, menu, wait_for_kernel, wait_until
from nbformat.v4 import new_code_cell

from fridge.notebook.references import FILE

if TYPE_CHECKING:
    from playwright.sync_api import Locator

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

EXERCISE, TEST = "weight-gigabytes", "weight-gigabytes-test"
PREPARE = """
from pathlib import Path
from fridge.notebook import recall, syllabus
from fridge.notebook.recall import questions

words = {"looks_at": ["4 bits", "less than a gigabyte", "bits that are no whole number"]}
words["because"] = "Eight bits are a byte, and a gigabyte is 10**9 of them."
syllabus.whole()["00-start-here"]["exercises"]["weight-gigabytes"] |= words
recall.read = lambda unit: questions.read(unit, Path())
"""
QUESTIONS = """
[[question]]
ask = "A model of 70 billion weights has 4 bits a weight. What is its size, and what is that to a card with 16 GB?"
options = [
  "35 GB, and it doesn't fit",
  "17.5 GB, since two weights share `one byte`, and bytes are what is counted here and everywhere",
  "280 GB",
]
right = 0
because = "70 billion weights of half a byte are 35 GB."
"""
REFERENCE = "def weight_gigabytes(parameters, bits):\n    return parameters * bits / 8 / 1e9\n"


@pytest.fixture
def start(lab, page, artifacts) -> Notebook:
    """The start page with cells of this test's behind the exercise."""
    path = lab.root / "course" / START
    notebook = nbformat.read(path, as_version=4)
    place = next(index for index, cell in enumerate(notebook.cells) if cell.id == TEST) + 1
    sources = {
        "prepare": PREPARE,
        "reveal": "# for whom is stuck",
        "use": "print(weight_gigabytes(70e9, 16))",
        "recall": 'recall.ask("demo")',
    }
    notebook.cells[place:place] = [new_code_cell(source, id=name) for name, source in sources.items()]
    nbformat.write(notebook, path)
    (path.parent / "demo.toml").write_text(3 * QUESTIONS, encoding="utf-8")
    solutions = {"unit": "00-start-here", "imports": [], "exercises": {EXERCISE: REFERENCE}}
    (path.parent / FILE).write_text(json.dumps(solutions), encoding="utf-8")
    page.goto(lab.url)
    wait_for_kernel(page)
    return Notebook(page, path, artifacts)


def test_a_learner_who_is_stuck(lab, page, start):
    """Guards against what only JupyterLab decides: cells' ids and numbers, the saved file, what a theme shows."""
    start.run("prepare", lab)
    start.run("recall", lab)

    # ✓, and after an edit that was saved but not run.
    start.write(EXERCISE, RIGHT_GIGABYTES)
    start.run(EXERCISE, lab)
    said = start.run(TEST, lab)
    assert said.startswith(
        f"✓ {EXERCISE}: the tests in this cell pass. Its 1 point counts when the hidden tests pass, too;"
    )
    assert "they look at: 4 bits; less than a gigabyte; bits that are no whole number." in said
    assert "Right because: Eight bits are a byte" in said
    start.picture("20-right", start.outputs(TEST))
    start.write(EXERCISE, WRONG_GIGABYTES)
    assert start.run(TEST, lab).startswith("✓"), "not saved: nobody can know"
    save(start, lab.root / "course" / START, "What the notebook proposes")
    said = start.run(TEST, lab)
    assert said.startswith(f"↻ {EXERCISE}: this exercise's cell was changed after its last run; what was tested is the")
    start.picture("21-edited", start.outputs(TEST))

    # A SyntaxError, with the old function in the kernel.
    start.write(EXERCISE, "def weight_gigabytes(parameters, bits)\n    return parameters * bits")
    start.run(EXERCISE, lab)
    said = start.run(TEST, lab)
    assert said.startswith(f"↻ {EXERCISE}: the last run of this exercise's cell failed with SyntaxError, line 1: ")
    start.picture("22-stale", start.outputs(TEST))

    # Stuck: a reference in the exercise's place, its source to read.
    start.write(EXERCISE, WRONG_GIGABYTES)
    start.run(EXERCISE, lab)
    assert start.run(TEST, lab).startswith("✗")
    start.write("reveal", f'import fridge\n\nfridge.reveal("{EXERCISE}")')
    said = start.run("reveal", lab)
    assert "is revealed, and its points are given up (1)" in said
    assert "return parameters * bits / 8 / 1e9" in said
    assert start.run("use", lab) == "140.0"
    assert start.run(TEST, lab).startswith(f"◇ {EXERCISE}: revealed.")
    assert "0 of 1 points" in start.run(start.score, lab)
    start.picture("23-revealed", start.outputs("reveal"))

    # Questions, by mouse and by keyboard, on a phone's width and in the dark.
    radios = start.cell("recall").locator("input[type=radio]")
    assert radios.count() == 9
    status = start.cell("recall").get_by_role("status")
    radios.nth(1).click()
    wait_until(lambda: status.all_text_contents() == ["✗ Not yet. Choose again."], 20, status.all_text_contents)
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Space")
    right = "✓ Right. 70 billion weights of half a byte are 35 GB."
    wait_until(lambda: status.all_text_contents() == [right], 20, status.all_text_contents)
    assert [radio.is_checked() for radio in radios.all()[:3]] == [True, False, False]
    start.picture("24-recall", start.outputs("recall"))
    labels = start.cell("recall").locator(".widget-radio-box label")
    menu(page, "Settings", "Theme", "JupyterLab Dark")
    for name, element in (("25-dark-recall", "recall"), ("26-dark-revealed", "reveal"), ("27-dark-stale", TEST)):
        start.picture(name, start.outputs(element))
    assert contrast(labels.first) > 4.5, "WCAG 2.1's least for text"
    page.keyboard.press("Control+b")  # without the side bar
    page.set_viewport_size({"width": 420, "height": 900})
    page.wait_for_timeout(1000)
    start.picture("28-narrow-recall", start.outputs("recall"))
    assert not overlapping(labels)
    edge = start.panel.bounding_box()
    for label in labels.all():
        box = label.bounding_box()
        assert box["x"] + box["width"] <= edge["x"] + edge["width"], "cut off at the right"
        assert label.evaluate("label => label.scrollWidth <= label.clientWidth")


def save(start: Notebook, path: Path, text: str) -> None:
    """Press Ctrl+S, and wait until a text is on the disk."""
    start.page.keyboard.press("Control+s")
    wait_until(lambda: text in path.read_text(encoding="utf-8"), 30)


def overlapping(of: "Locator") -> bool:
    """Whether one element of a column reaches into the next."""
    boxes = sorted((box["y"], box["height"]) for box in (element.bounding_box() for element in of.all()) if box)
    return any(top + height > below + 1 for (top, height), (below, _) in itertools.pairwise(boxes))
