"""A learner's first hour with unit 03, in a real browser.

One journey, in the order in which a learner makes it: each stage needs the state that the one before left, and the
minute that the cells with the real model take is spent once. Each stage leaves a picture in tests/artifacts/browser/.
"""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(1500)]

UNIT, NAME = "03-kv-cache", "kv_cache.ipynb"
RUN_ALL_SECONDS = 600  # seen on two cores: 37 s, and 144 s while others used them too
VALIDATE_SECONDS = 60  # seen: 8 s and 16 s, without the cells that run the real model

RIGHT_WORK = '''def positions_processed(prompt_tokens, new_tokens):
    """Count the squares of the figure."""
    if new_tokens == 0:
        return 0, 0
    again = sum(prompt_tokens + step for step in range(new_tokens))
    return again, prompt_tokens + new_tokens - 1
'''
WRONG_MEMORY = '''def kv_cache_bytes(layers, heads, kv_heads, head_dim, tokens, batch=1, bytes_per_value=2):
    """Forget that query heads share keys and values."""
    return 2 * layers * heads * head_dim * tokens * batch * bytes_per_value
'''


class Notebook:
    """The handout in JupyterLab, as a learner sees it: cells by their ids, outputs as text."""

    def __init__(self, page: "Page", path: Path, pictures: Path):
        self.page = page
        self.pictures = pictures
        cells = nbformat.read(path, as_version=4).cells
        self.index = {cell.id: index for index, cell in enumerate(cells)}
        self.tests = {cell.id: cell.metadata.nbgrader.points for cell in cells if _is_test(cell)}
        self.waiting = [cell.id for cell in cells if cell.cell_type == "code" and "scoreboard.ready(" in cell.source]
        self.last = cells[-1].id

    def cell(self, cell_id: str) -> "Locator":
        return self.page.locator(".jp-Notebook .jp-Cell").nth(self.index[cell_id])

    def outputs(self, cell_id: str) -> "Locator":
        return self.cell(cell_id).locator(".jp-Cell-outputWrapper")

    def output(self, cell_id: str) -> str:
        """The text under a cell."""
        return "\n".join(self.cell(cell_id).locator(".jp-OutputArea-output").all_text_contents()).strip()

    def prompts(self) -> list[str]:
        """What stands before the code cells: `[ ]:` not run, `[*]:` waiting or running, `[7]:` run as the seventh."""
        return [text.strip() for text in self.page.locator(".jp-CodeCell .jp-InputPrompt").all_text_contents()]

    def write(self, cell_id: str, code: str) -> None:
        """Replace a cell's text as a person does, and leave the cursor in it."""
        self.cell(cell_id).scroll_into_view_if_needed()
        self.cell(cell_id).locator(".cm-content").click()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.insert_text(code)

    def picture(self, name: str, of: "Locator | None" = None) -> None:
        """Keep a picture of the window, scrolled to an element."""
        for _ in range(2 if of else 0):  # JupyterLab guesses the height of what it hasn't drawn yet
            of.evaluate("element => element.scrollIntoView({block: 'center'})")
            self.page.wait_for_timeout(500)
        self.page.screenshot(path=self.pictures / f"{name}.png")


def test_a_learner_s_first_hour(lab, page, artifacts):
    """Guards against what no notebook-running library sees.

    Run All that stops at the first unsolved exercise, figures that aren't drawn, a traceback of the test's internals,
    a score that doesn't follow, a Validate button that runs the real model until it times out.
    """
    handout = lab.root / "course" / UNIT / NAME
    trace = leave_trace(handout)
    open_notebook(page, lab.url)
    notebook = Notebook(page, handout, artifacts)
    notebook.picture("1-opened")

    # All cells of the untouched handout.
    menu(page, "Run", "Run All Cells")
    wait_until(lambda: notebook.prompts()[0] != "[ ]:", 30, notebook.prompts)
    wait_until(lambda: idle(notebook, lab), RUN_ALL_SECONDS, notebook.prompts)
    assert trace.read_text() == "."
    assert "[ ]:" not in notebook.prompts(), "Run All Cells stopped before the end"
    for test, points in notebook.tests.items():
        name = test.removesuffix("-test")
        assert notebook.output(test).startswith(f"○ {name}: not attempted yet ({points:g} points)"), test
        assert len(notebook.output(test).splitlines()) == 1, "a learner needs no traceback of an empty exercise"
    for cell_id in notebook.waiting:
        assert "This cell waits for your code: solve " in notebook.output(cell_id), cell_id
    widths = page.locator(".jp-OutputArea img").evaluate_all("images => images.map(image => image.naturalWidth)")
    assert widths
    assert min(widths) > 100, "a figure is empty"
    assert "0 of 25 points" in notebook.output(notebook.last)
    notebook.picture("2-not-attempted", notebook.outputs("work-test"))
    notebook.picture("3-score-0", notebook.outputs(notebook.last))
    notebook.picture("4-figure", page.locator(".jp-OutputArea img").first)

    # Exercise 1, solved: the keys that JupyterLab teaches, Shift+Enter on the exercise and on its test.
    notebook.write("work", RIGHT_WORK)
    page.keyboard.press("Shift+Enter")
    page.keyboard.press("Shift+Enter")
    wait_until(lambda: notebook.output("work-test").startswith("✓"), 60, lambda: notebook.output("work-test"))
    assert notebook.output("work-test") == "✓ work: these tests pass (2 points)."
    notebook.picture("5-right", notebook.outputs("work-test"))
    score = run_last(notebook, lab)
    assert "2 of 25 points" in score
    notebook.picture("6-score-2", notebook.outputs(notebook.last))

    # Save, and nbgrader's Validate.
    page.keyboard.press("Control+s")
    wait_until(lambda: "Count the squares of the figure." in handout.read_text(encoding="utf-8"), 30)
    dialog = validate(page)
    assert trace.read_text() == ".", "Validate ran the cells with the real model, too"
    notebook.picture("7-validate")
    for test in notebook.tests:
        listed = f'exercise("{test.removesuffix("-test")}")' in dialog
        assert listed == (test != "work-test"), f"Validate and {test}: {dialog}"
    page.keyboard.press("Escape")

    # Exercise 2, wrong: the third outcome, in the dark.
    menu(page, "Settings", "Theme", "JupyterLab Dark")
    notebook.write("memory", WRONG_MEMORY)
    page.keyboard.press("Shift+Enter")
    page.keyboard.press("Shift+Enter")
    wait_until(lambda: notebook.output("memory-test").startswith("✗"), 60, lambda: notebook.output("memory-test"))
    wrong = notebook.output("memory-test")
    assert "46080" in wrong, "what was expected"
    assert "138240" in wrong, "what it got"
    assert "likely cause: a key and a value for each KV head" in wrong
    notebook.picture("8-dark-wrong", notebook.outputs("memory-test"))
    score = run_last(notebook, lab)
    assert "2 of 25 points" in score
    assert [score.count(mark) for mark in "✓✗○"] == [1, 1, 6]
    notebook.picture("9-dark-score", notebook.outputs(notebook.last))
    notebook.picture("10-dark-figure", page.locator(".jp-OutputArea img").first)


def leave_trace(handout: Path) -> Path:
    """Let the first cell with the real model write a dot into a file each time it is run; return the file."""
    trace = handout.parents[2] / "for-real.txt"
    notebook = nbformat.read(handout, as_version=4)
    first = next(cell for cell in notebook.cells if "for-real" in cell.metadata.get("tags", []))
    first.source += f'\nwith open({str(trace)!r}, "a") as trace:\n    trace.write(".")'
    nbformat.write(notebook, handout)
    return trace


def open_notebook(page: "Page", url: str) -> None:
    """From the printed address to the notebook, through the file browser, and wait for the kernel."""
    page.goto(url)
    for name in (UNIT, NAME):
        page.locator(".jp-DirListing-item", has_text=name).dblclick()
    page.locator(".jp-Notebook .jp-Cell").first.wait_for()
    # Cells are there before the kernel, and a Run All in between is lost.
    page.locator("#jp-main-statusbar").get_by_text("(ipykernel) | Idle").wait_for()


def menu(page: "Page", *path: str) -> None:
    """Choose from the menu bar."""
    bar, *items = path
    page.locator(".lm-MenuBar-item").get_by_text(bar, exact=True).click()
    for item in items:
        page.locator(".lm-Menu-item", has_text=re.compile(f"^{item}")).last.click()


def idle(notebook: Notebook, lab) -> bool:
    """Whether all that was asked for has run: by the cells' prompts and by the kernel's own word."""
    return "[*]:" not in notebook.prompts() and all(
        kernel["execution_state"] == "idle" for kernel in lab.api("kernels")
    )


def run_last(notebook: Notebook, lab) -> str:
    """Run the cell with the score, where it stands; return what it shows."""
    notebook.cell(notebook.last).locator(".jp-InputPrompt").click()
    before = notebook.prompts()[-1]
    notebook.page.keyboard.press("Control+Enter")
    wait_until(lambda: notebook.prompts()[-1] != before and idle(notebook, lab), 60, notebook.prompts)
    return notebook.output(notebook.last)


def validate(page: "Page") -> str:
    """Press nbgrader's Validate; return what its dialog says."""
    page.locator(".jp-NotebookPanel-toolbar").get_by_text("Validate").click()
    dialog = page.locator(".jp-Dialog-content")
    dialog.wait_for(timeout=VALIDATE_SECONDS * 1000)
    return dialog.text_content()


def wait_until(condition: Callable[[], bool], seconds: float, seen: Callable[[], object] = lambda: "") -> None:
    """Poll a condition; what was seen last goes into the failure's message."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s; last seen: {seen()}"
        time.sleep(0.5)


def _is_test(cell: nbformat.NotebookNode) -> bool:
    return bool(cell.metadata.get("nbgrader", {}).get("grade"))
