"""Pythons: this one, the newest that the course runs on, and the one that a notebook says it was written with."""

import re
import sys
from collections.abc import Mapping
from importlib.metadata import metadata as package_metadata
from typing import Any

from packaging.specifiers import SpecifierSet

HERE = f"3.{sys.version_info.minor}"

_VERSION = re.compile(r"3\.(\d{1,2})(?:\.\w{1,10})?")


def newest() -> str:
    """The newest Python that pyproject.toml allows, "3.13"."""
    allowed = SpecifierSet(package_metadata("elephant-in-the-fridge")["Requires-Python"])
    return max((f"3.{minor}" for minor in range(11, 100) if f"3.{minor}" in allowed), key=lambda v: int(v[2:]))


def written_with(metadata: Any) -> str:
    """The version that a notebook's metadata name, "3.12.11"; empty if they name none."""
    info = metadata.get("language_info") if isinstance(metadata, Mapping) else None
    version = info.get("version") if isinstance(info, Mapping) else None
    return version if isinstance(version, str) and _VERSION.fullmatch(version) else ""


def newer_than_here(metadata: Any) -> str:
    """ "written with Python 3.12, graded with 3.11" if the notebook's Python is newer than this one; else empty."""
    found = _VERSION.fullmatch(written_with(metadata))
    if not found or int(found[1]) <= sys.version_info.minor:
        return ""
    return f"written with Python 3.{found[1]}, graded with {HERE}"
