"""The library's rooms: on three floors, as its README says, with no import upwards and none in a circle."""

import ast
import graphlib
import re
from pathlib import Path

import pytest

FRIDGE = Path(__file__).resolve().parents[2] / "course" / "fridge"
FLOORS = ("ground", "middle", "top")
MOST_ROOMS = 12


def test_every_room_has_a_floor_in_the_readme():
    """Guards against rooms that a reader doesn't find, and a table of rooms that are gone."""
    there = {path.parent.name for path in FRIDGE.glob("*/__init__.py")}
    assert set(floors()) == there
    assert len(there) <= MOST_ROOMS
    assert [path.name for path in FRIDGE.glob("*.py")] == ["__init__.py"], "a module outside of any room"


def test_nothing_imports_upwards():
    """Guards against a model that knows who tests it, and a notebook's helpers that know a subject."""
    assert upward(imports(FRIDGE), floors()) == []


def test_nothing_imports_in_a_circle():
    """Guards against modules that can't be read one after the other."""
    list(graphlib.TopologicalSorter(imports(FRIDGE)).static_order())


def test_rooms_have_no_circle_either():
    """Guards against two rooms of one floor that need each other."""
    rooms: dict[str, set[str]] = {}
    for module, known in imports(FRIDGE).items():
        rooms.setdefault(room(module), set()).update({room(one) for one in known} - {room(module)})
    list(graphlib.TopologicalSorter(rooms).static_order())


def test_a_circle_and_an_upward_import_are_seen(tmp_path):
    """Guards against tests of this page that can't fail."""
    write(tmp_path, "models/one.py", "def f():\n    from fridge.models import two")
    write(tmp_path, "models/two.py", "from fridge.models.one import f")
    write(tmp_path, "workbench/ruler.py", "import fridge.testing.expect")
    write(tmp_path, "testing/expect.py", "from fridge.workbench.ruler import x")
    found = imports(tmp_path)
    on = {"models": "middle", "workbench": "ground", "testing": "top"}
    assert upward(found, on) == ["workbench.ruler (ground) imports testing.expect (top)"]
    with pytest.raises(graphlib.CycleError):
        list(graphlib.TopologicalSorter(found).static_order())


def floors() -> dict[str, str]:
    """Room -> floor, by the README's table."""
    rows = re.findall(r"^\| (\w+) \| `(\w+)` \|", (FRIDGE / "README.md").read_text(), re.MULTILINE)
    return {name: floor for floor, name in rows}


def upward(found: dict[str, set[str]], on: dict[str, str]) -> list[str]:
    """The imports that go up, in words."""
    return [
        f"{module} ({on[room(module)]}) imports {one} ({on[room(one)]})"
        for module, known in sorted(found.items())
        for one in sorted(known)
        if FLOORS.index(on[room(one)]) > FLOORS.index(on[room(module)])
    ]


def imports(fridge: Path) -> dict[str, set[str]]:
    """Module in a room -> those that it imports, anywhere in its text."""
    paths = {".".join(path.relative_to(fridge).with_suffix("").parts): path for path in fridge.rglob("*.py")}
    modules = {name.removesuffix(".__init__"): path for name, path in paths.items() if name != "__init__"}
    found = {}
    for module, path in modules.items():
        named = {name for node in ast.walk(ast.parse(path.read_text())) for name in _named(node)}
        found[module] = {one for name in named if (one := _module(name, modules))} - {module}
    return found


def room(module: str) -> str:
    """The folder at the top that a module is in."""
    return module.partition(".")[0]


def _named(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert not node.level, "imports by dots say less than whole names"
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def _module(name: str, modules: dict[str, Path]) -> str | None:
    # "fridge.models.caches.ConcatCache" is of "models.caches", "fridge.models.load" of "models".
    parts = name.split(".")
    if parts[0] != "fridge":
        return None
    return next((one for end in (len(parts), len(parts) - 1) if (one := ".".join(parts[1:end])) in modules), None)


def write(folder: Path, name: str, text: str) -> None:
    """A module of a made-up library."""
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(text)
