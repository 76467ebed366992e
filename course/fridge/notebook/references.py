"""Where a reference solution for `fridge.reveal` comes from: the library, a file, or the repository's own solutions.

The library is asked first: some of its functions do what an exercise asks for, with the same arguments. Then a file
that the instructor gave out (`autograder references UNIT --out FILE`). Then the masters in solutions/, where the course
is a clone of the whole repository. Which of them may be used is decided when the course is published.
"""

import ast
import importlib
import inspect
import json
import linecache
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fridge.notebook.cells import FOR_REAL, parsed
from fridge.notebook.handouts import Stub

FILE = "references.json"
CHOICE = (
    Path(__file__).parents[1] / "reveal.json"
)  # `autograder publish` writes it; where there is none, all is allowed
LIBRARY, FILES, NO = "library", "file", "no"  # choices when publishing; each but the last allows those before it, too
RELATIVES = {  # stub -> name -> where the library has the same function; tests/fridge/test_references.py compares them
    "causal-attention": {"causal_attention": ("fridge.models.llama", "attend_causally")},
    "verify-greedy": {"verify_greedy": ("fridge.testing.speculation", "agreed")},
}
_CELL = re.compile(r"^# %%(.*)$", re.MULTILINE)
_MARKER = re.compile(r"^[ \t]*### (?:BEGIN|END) SOLUTION[ \t]*\n", re.MULTILINE)


class NoReference(Exception):
    """There is none for this exercise. The message says where was looked, and what to do."""


@dataclass(frozen=True)
class Reference:
    """A solution that can run.

    Attributes:
        values: name -> function or class.
        source: to read.
        origin: where it comes from, for a person.
    """

    values: dict[str, Any]
    source: str
    origin: str


def allowed() -> str:
    """What the instructor allows: LIBRARY, FILES, NO, or nothing in particular (everything) where none has chosen."""
    try:
        return json.loads(CHOICE.read_text(encoding="utf-8"))["reveal"]
    except FileNotFoundError:
        return ""


def find(stub: Stub, notebook: str, file: str | None = None) -> Reference:
    """A reference for an exercise.

    Args:
        notebook: the name of its unit's notebook.
        file: an instructor's file; default FILE in the working folder.

    Raises:
        NoReference: the instructor has switched references off, or none is to be found.
    """
    choice = allowed()
    if choice == NO:
        raise NoReference("your instructor has switched reference solutions off in this course.")
    if stub.grade_id in RELATIVES and (file is None or choice == LIBRARY):
        return _from_library(stub)
    if choice == LIBRARY:
        raise NoReference("the library has no function that does the same, and your instructor allows no other source.")
    path = Path(file or FILE)
    if file is not None or path.is_file():
        return _made(stub, _read(path, stub.unit), f"{path}")
    if not choice and (master := _master(stub.unit, notebook)):
        return _made(stub, of_master(stub.unit, master.read_text(encoding="utf-8")), "the course's own solutions")
    raise NoReference(
        f"there is none here: the library has no function that does the same, and there is no {FILE} beside this "
        f'notebook. Ask your instructor for the file, put it here, or say its path: fridge.reveal("…", "PATH").'
    )


def of_master(unit: str, text: str) -> dict[str, Any]:
    """A unit's solutions as FILE holds them, from the text of its master: what they import, and each exercise's source.

    Returns:
        {"unit": …, "imports": [lines], "exercises": {stub's grade_id: source}}, without what a person grades.
    """
    imports: list[str] = []
    exercises: dict[str, str] = {}
    for options, source in _cells(text):
        graded = re.search(r"nbgrader=(\{.*\})", options)
        if graded is None and FOR_REAL not in options:
            imports += [
                ast.unparse(node) for node in _statements(source) if isinstance(node, ast.Import | ast.ImportFrom)
            ]
        elif graded is not None and (marks := json.loads(graded[1]))["solution"] and not marks.get("grade"):
            exercises[marks["grade_id"]] = _MARKER.sub("", source)
    return {"unit": unit, "imports": list(dict.fromkeys(imports)), "exercises": exercises}


def _statements(source: str) -> list[ast.stmt]:
    tree = parsed(source)
    return tree.body if tree else []  # a magic, say


def _cells(text: str) -> Iterator[tuple[str, str]]:
    heads = list(_CELL.finditer(text))
    ends = [head.start() for head in heads[1:]] + [len(text)]
    for head, end in zip(heads, ends, strict=True):
        if not head[1].strip().startswith("[markdown]"):
            yield head[1], text[head.end() : end].strip() + "\n"


def _from_library(stub: Stub) -> Reference:
    places = RELATIVES[stub.grade_id]
    values = {name: getattr(importlib.import_module(module), there) for name, (module, there) in places.items()}
    source = "\n\n".join(textwrap.dedent(inspect.getsource(value)).rstrip() for value in values.values())
    renamed = "".join(f"\n\n{name} = {value.__name__}" for name, value in values.items() if name != value.__name__)
    where = ", ".join(f"{module}.{there}" for module, there in places.values())
    return Reference(values, source + renamed, f"the course library, `{where}`")


def _read(path: Path, unit: str) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["unit"] != unit:
            raise NoReference(f"{path} holds the solutions of {data['unit']}, not those of {unit}.")
        return {**data, "imports": list(data["imports"]), "exercises": dict(data["exercises"])}
    except FileNotFoundError:
        raise NoReference(f"there is no {path.resolve()}. Look at the path, and ask your instructor for it.") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise NoReference(f"{path} can't be read as a file of references. Ask your instructor for it again.") from None


def _master(unit: str, notebook: str) -> Path | None:
    name = Path(notebook).with_suffix(".py").name
    roots = (Path.cwd().parents[1:2] or [Path.cwd()])[0], Path(__file__).resolve().parents[3]
    paths = (root / "solutions" / unit / name for root in roots)
    return next((path for path in paths if path.is_file()), None)


def _made(stub: Stub, data: dict[str, Any], origin: str) -> Reference:
    """Run a unit's solutions in a namespace of their own, so that no other exercise's answer decides what one does."""
    if stub.grade_id not in data["exercises"]:
        raise NoReference(f"{origin} has no solution of `{stub.grade_id}`.")
    namespace: dict[str, Any] = {"__name__": "reference"}
    exec("\n".join(data["imports"]), namespace)
    for grade_id, source in data["exercises"].items():
        filename = f"<reference {stub.unit} {grade_id}>"
        linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
        exec(compile(source, filename, "exec"), namespace)
    values = {name: namespace[name] for name in stub.names if name in namespace}
    return Reference(values, data["exercises"][stub.grade_id].rstrip(), origin)
