"""Notebooks in Binder's memory, beside a JupyterLab that is open.

.venv/bin/pytest -m long -s tests/autograder/test_confined.py      some ten minutes; prints the table
"""

import argparse

import pytest

from autograder.authoring import confined
from autograder.authoring.confined import Confined, measure, table
from autograder.cli import _bytes
from autograder.course import CourseError, find_units
from autograder.isolation.cgroup import ControlGroup

BINDER = 2 * 2**30  # bytes
MOST = 1.6e9  # what a unit may have of them


@pytest.fixture
def groups() -> None:
    """Skip where this user may make no control groups."""
    try:
        ControlGroup(memory=BINDER, processes=None, quota=None).remove()
    except OSError as error:
        pytest.skip(f"no control groups for this user: {error}")


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_every_unit_fits_into_binder(root, groups):
    """Guards against a notebook that ends with `Kernel restarting` for those who have no machine of their own."""
    measured = measure(root, BINDER)
    print(f"\n{table(measured, BINDER)}")
    assert [one.unit.name for one in measured] == [unit.name for unit in find_units(root)]
    assert not any(one.killed for one in measured)
    assert max(one.peak_bytes for one in measured) < MOST


@pytest.mark.long
def test_what_does_not_fit_is_told(root, groups):
    """Guards against a measurement that can't fail: 600 MB hold JupyterLab and a kernel without its model."""
    (one,) = measure(root, 600 * 2**20, ["01-memory-math"])
    assert one.killed
    assert "processes were ended for want of memory" in table([one], 600 * 2**20)


def test_a_host_without_groups_says_so(mini, monkeypatch):
    """Guards against a traceback on a laptop."""

    def refused(**_: object) -> None:
        raise PermissionError("not yours")

    monkeypatch.setattr(confined, "ControlGroup", refused)
    (unit,) = find_units(mini)
    unit.pair.write_text('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}')
    with pytest.raises(CourseError, match=r"gives no control groups to this user \(not yours\): run it as root"):
        measure(mini, BINDER)


def test_the_table_has_what_both_took(root):
    """Guards against a kernel's memory that passes for the pod's."""
    unit = find_units(root)[0]
    said = table([Confined(unit, 12.4, 123_000_000, 1_234_000_000, 456_000_000, 0)], BINDER)
    assert said.split("\n")[1].split() == [unit.name, "12", "123", "1234", "456"]
    assert said.split("\n")[0].endswith("of 2147 MB")


@pytest.mark.parametrize(("text", "size"), [("2G", 2**31), ("1.5G", 3 * 2**29), ("600M", 600 * 2**20), ("4096", 4096)])
def test_sizes(text, size):
    """Guards against a limit in units that nobody meant."""
    assert _bytes(text) == size
    with pytest.raises(argparse.ArgumentTypeError):
        _bytes(f"{text}iB")
