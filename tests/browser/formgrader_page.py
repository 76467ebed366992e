"""Formgrader as an instructor uses it: lines, buttons and dialogs."""

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

ROOT = Path(__file__).resolve().parents[2]
AUTOGRADE_SECONDS = 500  # for one submission, with the start of the sandbox; seen: 20 s


def command(root: Path, name: str, *arguments: str) -> None:
    """Run a command of the course's environment in a shell, in the course's folder."""
    line = [root / ".venv" / "bin" / name, *arguments]
    done = subprocess.run(line, cwd=root, capture_output=True, text=True, timeout=AUTOGRADE_SECONDS)
    assert done.returncode == 0, done.stderr


def only_this_machine(page: "Page") -> set[str]:
    """Let the browser load nothing from other machines; the set fills with those that it wanted to ask."""
    wanted: set[str] = set()

    def decide(route) -> None:
        address = urlsplit(route.request.url)
        if address.scheme in ("http", "https") and address.hostname != "127.0.0.1":
            wanted.add(address.hostname)
            route.abort()
        else:
            route.continue_()

    page.route("**/*", decide)
    return wanted


def row(page: "Page", learner: str) -> "Locator":
    """A learner's line in the table of submissions."""
    learners = page.locator("#main-table tr", has=page.locator(".student-id", has_text=re.compile(f"^{learner}$")))
    learners.wait_for()
    return learners


def press(line: "Locator", button: str, success: str) -> str:
    """Press a button in a table's line; return all that the dialog says, which must be a success."""
    line.locator(f".{button} a").click()
    dialog = line.page.locator(".modal-content")
    dialog.wait_for(timeout=AUTOGRADE_SECONDS * 1000)
    said = dialog.text_content()
    assert success in said, said
    return said


def close_dialog(page: "Page") -> None:
    page.locator(".modal-footer button").click()
    page.locator(".modal-content").wait_for(state="detached")
