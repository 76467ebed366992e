"""A stand-in for Colab's own modules, which exist nowhere else: `from google.colab import drive` and what follows it
do nothing, so that the cell goes on to the learner's code.

An import that is tried, `try: import google.colab`, asks whether this is Colab, and is told no.
"""

import dis
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

NAMES = ("google", "google.colab")


class Nothing:
    """Whatever is asked of it, it does nothing and is empty."""

    def __call__(self, *_: Any, **__: Any) -> "Nothing":
        """Do nothing."""
        return self

    def __getattr__(self, name: str) -> "Nothing":
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __iter__(self) -> Iterator:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __enter__(self) -> "Nothing":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __repr__(self) -> str:
        return "<Colab's, which does nothing in grading>"


class _Colab(ModuleType):
    def __getattr__(self, name: str) -> Nothing:
        if name.startswith("__"):
            raise AttributeError(name)
        return Nothing()


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        # Asked last: a real package `google`, protobuf's say, was found before.
        if (name in NAMES or name.startswith("google.colab.")) and not _is_tried():
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Colab(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


def _is_tried() -> bool:
    """Whether the statement that imports stands in a `try`."""
    frame = sys._getframe(1)
    while frame is not None and (
        frame.f_globals.get("__name__") == __name__ or "importlib" in frame.f_code.co_filename
    ):
        frame = frame.f_back
    if frame is None:
        return False
    # Of a `with`, the entry says that the place of the failure is kept; of a `try`, it doesn't.
    entries = dis.Bytecode(frame.f_code).exception_entries
    return any(entry.start <= frame.f_lasti < entry.end and not entry.lasti for entry in entries)


def stand_in() -> None:
    """Let this process import `google.colab`."""
    sys.meta_path.append(_Finder())
