"""Text that is there without a download, English and technical: what CPython brings along.

Two kinds, so that what was fitted to one can be measured on the other.
"""

import ast
import sysconfig
from functools import cache
from pathlib import Path
from pydoc_data.topics import topics


@cache
def prose() -> str:
    """Some 450 kB of English prose about Python, the same for everyone who has the same Python."""
    return "\n\n".join(topics[name] for name in sorted(topics))


@cache
def docstrings(characters: int) -> str:
    """The first characters of all docstrings of the standard library's modules, in the order of the modules' names."""
    found, length = [], 0
    for module in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        for docstring in _docstrings_of(module.read_text(encoding="utf-8")):
            found.append(docstring)
            length += len(docstring) + 2
        if length > characters:
            break
    return "\n\n".join(found)[:characters]


def _docstrings_of(source: str) -> list[str]:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = (node for node in ast.walk(ast.parse(source)) if isinstance(node, documented))
    return [docstring for node in nodes if (docstring := ast.get_docstring(node))]
