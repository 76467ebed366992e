"""Pages for instructors: one file each, made from a folder of templates/, that loads nothing and runs one script.

Names, files and code on them come from strangers: everything is escaped, and the page's own policy names the one script
that may run. Without scripts each shows everything.
"""

import base64
import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2


def render(folder: str, filters: Mapping[str, Callable[[Any], str]], **values: Any) -> str:
    """The page of templates/`folder`: its page.html with style.css, script.js and these values."""

    def part(name: str) -> str:
        return resources.files("autograder").joinpath("templates", folder, name).read_text(encoding="utf-8")

    script = part("script.js")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters |= filters
    return environment.from_string(part("page.html")).render(
        **values,
        made=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        style=part("style.css"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def write(path: Path, page: str) -> None:
    """Write a page for this account alone: names, points and learners' work are for their instructors."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.write_text(page, encoding="utf-8", errors="backslashreplace")  # a folder's name may hold half a character
    new.chmod(0o600)
    new.replace(path)
