"""All of formgrader's pages over ids, names, links, files and HTML of learners who want the instructor's own origin.

Its API changes grades, and JupyterLab beside it has a terminal. Ids like these stand in a gradebook that an older
grader or nbgrader's own commands filled; addresses like these stand in links of a notebook.
"""

import contextlib
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import nbformat
import pytest
from nbformat.v4 import new_markdown_cell, new_output

from autograder.course import Unit, find_units, nbgrader_configuration

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

UNIT = "03-kv-cache"
IDS = {
    "a tag": "<img src=x onerror=pwned()>",
    "a script's string": '";pwned();"',
    "a string with one quote": "';pwned();'",
    "a template's string": "`${pwned()}`",
    "the end of an attribute": '" autofocus onfocus=pwned() x="',
    "an escaped quote": 'a\\";pwned()//',
    "the end of a string's escape": "a\\",
    "a line": "a\npwned()\n",
    "entities": "&lt;img src=x onerror=pwned()&gt;",
    "bytes of no encoding": "b\udcffb",
}
# In an address there can be slashes, too.
ADDRESSES = [*IDS.values(), "</script><script>pwned()</script>", ";pwned()//", "x</title><svg/onload=pwned()>"]
COVERS = (
    '<div class="navbar navbar-fixed-top" style="position:fixed;top:0;left:0;width:100%;height:100%">COVER</div>'
    '<div style="position:absolute;top:-9000px;height:9000px;width:9000px">COVER</div>'
    '<div class="modal-backdrop in">COVER</div><a class="btn btn-success full-credit" href="#">Full credit</a>'
    '<div class="help">COVER</div><div class="col-md-12 carousel-control" style="width:99999px">COVER</div>'
    '<table width="99999" height="99999"><tr><td rowspan="60000" colspan="1000">COVER</td></tr></table>'
    '<div style="margin:-900px;padding:900px;transform:scale(50);z-index:99999">COVER</div>\n\n'
    "$\\hspace{-9000px}\\text{COVER}$ $\\hspace{-300px}\\text{COVER}$"
)
CONFIG = "from pathlib import Path\nPath('owned').touch()\n"
COVERED = """() => [...document.querySelectorAll('button, input.tabbable, nav a, .panel-heading')].flatMap(one => {
    one.scrollIntoView({block: 'center'})
    const box = one.getBoundingClientRect()
    if (!box.width || !box.height) return []
    const top = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2)
    return top && (one.contains(top) || top.contains(one)) ? [] : [one.outerHTML + ' is under ' + (top || {}).outerHTML]
})"""


def test_no_page_runs_a_learners_script(formgrader, page, artifacts):
    """Guards against an id, a name, a link or a file that gives grades, or opens a terminal, as the instructor."""
    unit = find_units(formgrader.root, [UNIT])[0]
    submissions = handed_in(unit)
    ran, asked = watch(page)
    base = formgrader.url.partition("/formgrader?")[0] + "/formgrader"
    page.goto(formgrader.url)
    page.evaluate("pwned()")
    assert len(ran) == 1, "the counter doesn't count"
    ran.clear()

    addresses = [
        "manage_assignments",
        f"manage_submissions/{UNIT}",
        "gradebook",
        f"gradebook/{UNIT}",
        "manage_students",
    ]
    addresses += [f"gradebook/{UNIT}/{unit.notebook}"]
    addresses += [f"submissions/{submission}/" for submission in submissions]
    for hostile in (quoted(one) for one in ADDRESSES):
        addresses += [f"manage_students/{hostile}", f"manage_students/{hostile}/{UNIT}", f"gradebook/{hostile}"]
        addresses += [f"gradebook/{hostile}/{hostile}", f"manage_submissions/{hostile}", f"submissions/{hostile}/"]
        addresses += [
            f"manage_students/{hostile}/%3Bpwned()%2F%2F",
            f"{hostile}",
            f"submissions/x/next?index={hostile}",
        ]
    shown = ""
    for address in addresses:
        visit(page, f"{base}/{address}")
        page.wait_for_timeout(150)
        for button in page.locator("#toggle_names").all():  # shows the names
            button.click()
        shown += page.locator("body").inner_text()
        assert not ran, f"{address} runs a learner's script"
        assert page.title() != "pwned"
    page.goto(f"{base}/manage_students")
    page.locator("#main-table td.id").nth(len(IDS) - 1).wait_for()
    page.screenshot(path=artifacts / "hostile-students.png")
    assert "<img src=x onerror=pwned()>" in page.locator("#main-table").inner_text(), "the id, as text"
    assert not ran
    changed = [request for request in asked if request[0] != "GET"]
    assert not changed, "a page asked the API to change something"
    assert not [address for _, address in asked if urlsplit(address).hostname != "127.0.0.1"]


def test_what_lies_beside_a_notebook_has_no_rights(formgrader, page):
    """Guards against a page or a configuration that a learner hands in, and a link to it."""
    unit = find_units(formgrader.root, [UNIT])[0]
    submission = handed_in(unit)[0]
    ran, asked = watch(page)
    base = formgrader.url.partition("/formgrader?")[0] + "/formgrader"
    page.goto(formgrader.url)
    student = quoted(next(iter(IDS.values())))
    for folder, names in (
        ("autograded", ("figure.html", "figure.shtml", "figure.svg", "figure.xml")),
        ("submitted", ("figure.html",)),
    ):
        for name in names:
            lies = unit.root / "grading" / folder / next(iter(IDS.values())) / UNIT
            (lies / name).write_text(
                "<script>parent.pwned ? pwned() : 0; fetch('/formgrader/api/assignments')</script>"
            )
            way = name if folder == "autograded" else f"..%2F..%2F..%2F{folder}%2F{student}%2F{UNIT}%2F{name}"
            visit(page, f"{base}/submissions/{submission}/{way}")
            answer = page.request.get(f"{base}/submissions/{submission}/{way}")
            assert answer.ok, "the file isn't there to be looked at"
            assert "sandbox" in answer.headers["content-security-policy"], name
    for lies in ("submitted", "autograded"):
        (unit.root / "grading" / lies / "ada" / UNIT).mkdir(parents=True, exist_ok=True)
        (unit.root / "grading" / lies / "ada" / UNIT / "nbgrader_config.py").write_text(CONFIG)
        assert page.request.get(f"{base}?path=grading/{lies}/ada/{UNIT}").status == 403
    assert not (unit.root / "owned").exists(), "formgrader ran a learner's configuration"
    assert page.request.get(f"{base}?path={unit.root}").ok
    assert not ran
    assert not [address for _, address in asked if "/api/assignments" in address and "figure" in address]


def test_a_learners_html_covers_nothing(formgrader, page, artifacts):
    """Guards against a learner's box in the place of the instructor's buttons, or one of those buttons copied."""
    unit = find_units(formgrader.root, [UNIT])[0]
    submission = handed_in(unit)[0]
    base = formgrader.url.partition("/formgrader?")[0] + "/formgrader"
    page.goto(formgrader.url)
    page.goto(f"{base}/submissions/{submission}/")
    page.locator("input.tabbable").first.wait_for()
    page.screenshot(path=artifacts / "hostile-covers.png")
    assert "COVER" in page.locator("#notebook-container").first.inner_text(), "what a learner wrote is shown"
    assert page.evaluate(COVERED) == []
    tests = page.locator(".nbgrader_cell input.score").count()
    assert page.locator(".full-credit").count() == tests, "a learner's element has a button's class"


def handed_in(unit: Unit) -> list[str]:
    """Learners with hostile ids and names, graded; the ids of their notebooks in the gradebook."""
    from nbgrader.api import Gradebook

    notebook = nbformat.read(unit.release, as_version=4)
    notebook.cells.insert(1, new_markdown_cell(COVERS))
    code = next(cell for cell in notebook.cells if cell.cell_type == "code")
    code.outputs = [new_output("display_data", {"text/html": COVERS})]
    found = []
    with Gradebook(nbgrader_configuration(unit.root).CourseDirectory.db_url) as gradebook:
        for name in IDS.values():
            for step in ("submitted", "autograded"):
                folder = unit.root / "grading" / step / name / UNIT
                folder.mkdir(parents=True, exist_ok=True)
                nbformat.write(notebook, folder / f"{unit.notebook}.ipynb")
            if not name.isprintable() and "\udcff" in name:
                continue  # no database takes it
            gradebook.update_or_create_student(name, first_name=name, last_name=name, email=name)
            submission = gradebook.update_or_create_submission(UNIT, name)
            found += [book.id for book in submission.notebooks]
    return found


def watch(page: "Page") -> tuple[list, list[tuple[str, str]]]:
    """Lists that fill: with each run of a learner's script, and with (method, address) of each request."""
    ran: list = []
    asked: list[tuple[str, str]] = []
    page.expose_function("pwned", lambda: ran.append(page.url))
    page.on("dialog", lambda dialog: (ran.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: asked.append((request.method, request.url)))
    return ran, asked


def visit(page: "Page", address: str) -> None:
    """Go there, even if nothing is there."""
    from playwright.sync_api import Error

    with contextlib.suppress(Error):  # an answer without a page
        page.goto(address, wait_until="load")


def quoted(text: str) -> str:
    """A part of an address."""
    return quote(text.encode("utf-8", "surrogateescape"), safe="")
