"""A notebook in JupyterLab as a learner uses it: its cells, menus and kernel."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

START = "00-start-here/start_here.ipynb"
SHOWN = ".jp-NotebookPanel:not(.lm-mod-hidden)"  # the notebook in front
WRONG_GIGABYTES = '''def weight_gigabytes(parameters, bits):
    """What the notebook proposes, to see a wrong answer."""
    return parameters * bits
'''
RIGHT_GIGABYTES = '''def weight_gigabytes(parameters, bits):
    """Bytes, then gigabytes."""
    return parameters * (bits / 8) / 10**9
'''


class Notebook:
    """The handout in JupyterLab, as a learner sees it: cells by their ids, outputs as text."""

    def __init__(self, page: "Page", path: Path, pictures: Path):
        self.page = page
        self.panel = page.locator(SHOWN)
        self.pictures = pictures
        cells = nbformat.read(path, as_version=4).cells
        self.index = {cell.id: index for index, cell in enumerate(cells)}
        self.sources = {cell.id: cell.source for cell in cells if cell.cell_type == "code"}
        self.tests = {cell.id: cell.metadata.nbgrader.points for cell in cells if is_test(cell)}
        self.waiting = [cell_id for cell_id, source in self.sources.items() if "scoreboard.ready(" in source]
        self.score = self.find("scoreboard.show(")
        self.hand_in = self.find("fridge.submit(")

    def cell(self, cell_id: str) -> "Locator":
        return self.panel.locator(".jp-Notebook .jp-Cell").nth(self.index[cell_id])

    def outputs(self, cell_id: str) -> "Locator":
        return self.cell(cell_id).locator(".jp-Cell-outputWrapper")

    def output(self, cell_id: str) -> str:
        """The text under a cell."""
        return "\n".join(self.cell(cell_id).locator(".jp-OutputArea-output").all_text_contents()).strip()

    def prompts(self) -> list[str]:
        """What stands before the code cells: `[ ]:` not run, `[*]:` waiting or running, `[7]:` run as the seventh."""
        return [text.strip() for text in self.panel.locator(".jp-CodeCell .jp-InputPrompt").all_text_contents()]

    def write(self, cell_id: str, code: str) -> None:
        """Replace a cell's text as a person does, and leave the cursor in it."""
        self.cell(cell_id).scroll_into_view_if_needed()
        self.cell(cell_id).locator(".cm-content").click()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.insert_text(code)

    def find(self, text: str) -> str:
        """The id of the one code cell that has this text."""
        (found,) = [cell_id for cell_id, source in self.sources.items() if text in source]
        return found

    def press(self, *keys: str, until: str, says: str) -> None:
        """Press keys; wait until a cell's output begins with a mark."""
        for key in keys:
            self.page.keyboard.press(key)
        wait_until(lambda: self.output(until).startswith(says), 60, lambda: self.output(until))

    def run(self, cell_id: str, lab) -> str:
        """Run a cell where it stands; return what it shows."""
        self.cell(cell_id).locator(".jp-InputPrompt").click()
        prompt = self.cell(cell_id).locator(".jp-InputPrompt")
        before = prompt.text_content()
        self.page.keyboard.press("Control+Enter")
        wait_until(lambda: prompt.text_content() != before and idle(self, lab), 60, self.prompts)
        return self.output(cell_id)

    def picture(self, name: str, of: "Locator | None" = None) -> None:
        """Keep a picture of the window, scrolled to an element."""
        for _ in range(2 if of else 0):  # JupyterLab guesses the height of what it hasn't drawn yet
            of.evaluate("element => element.scrollIntoView({block: 'center'})")
            self.page.wait_for_timeout(500)
        self.page.screenshot(path=self.pictures / f"{name}.png")


def wait_for_kernel(page: "Page") -> None:
    """Cells are there before the kernel, and a Run All in between is lost."""
    page.locator(f"{SHOWN} .jp-Cell").first.wait_for()
    page.locator("#jp-main-statusbar").get_by_text("(ipykernel) | Idle").wait_for()


def contrast(of: "Locator") -> float:
    """WCAG's contrast of an element's text with the ground behind it."""
    colours = of.evaluate(
        """element => {
            let behind = element;
            while (behind && /rgba\\(.*, 0\\)|transparent/.test(getComputedStyle(behind).backgroundColor)) {
                behind = behind.parentElement;
            }
            return [getComputedStyle(element).color, getComputedStyle(behind).backgroundColor];
        }"""
    )
    light, dark = sorted((_luminance(colour) for colour in colours), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def menu(page: "Page", *path: str) -> None:
    """Choose from the menu bar."""
    bar, *items = path
    page.locator(".lm-MenuBar-item").get_by_text(bar, exact=True).click()
    for item in items:
        page.locator(".lm-Menu-item", has_text=re.compile(f"^{item}")).last.click()


def wait_until(condition: Callable[[], bool], seconds: float, seen: Callable[[], object] = lambda: "") -> None:
    """Poll a condition; what was seen last goes into the failure's message."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s; last seen: {seen()}"
        time.sleep(0.5)


def _luminance(colour: str) -> float:
    red, green, blue = (int(part) / 255 for part in re.findall(r"\d+", colour)[:3])
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in (red, green, blue)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def idle(notebook: Notebook, lab) -> bool:
    """Whether all that was asked for has run: by the cells' prompts and by the kernel's own word."""
    return "[*]:" not in notebook.prompts() and all(
        kernel["execution_state"] == "idle" for kernel in lab.api("kernels")
    )


def is_test(cell: nbformat.NotebookNode) -> bool:
    return bool(cell.metadata.get("nbgrader", {}).get("grade"))
