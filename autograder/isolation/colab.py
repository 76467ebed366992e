"""A stand-in for Colab's own modules, which exist nowhere else: `from google.colab import drive` and what follows it
do nothing, so that the cell goes on to the learner's code.
"""

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
        if name in NAMES or name.startswith("google.colab."):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Colab(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


def stand_in() -> None:
    """Let this process import `google.colab`. A notebook that asks whether it runs there is told no."""
    sys.meta_path.append(_Finder())
