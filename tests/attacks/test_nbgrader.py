"""Attacks on the way through `nbgrader autograde` and feedback: metadata, outputs, cells, scripts."""

import time

import pytest
from attacks import Attack, full_points, read_attacks, texts
from through_nbgrader import HONEST, Class, Dangers, Result

from autograder.notebooks import read_master


@pytest.fixture(scope="module")
def nbgrader_class(tmp_path_factory, sandbox) -> Class:
    return Class(tmp_path_factory.mktemp("class") / "course")


@pytest.fixture(scope="module")
def honest(nbgrader_class) -> Result:
    return nbgrader_class.grade(HONEST, None)


@pytest.mark.parametrize("attack", read_attacks("nbgrader"), ids=lambda attack: attack.name)
def test_an_attack_through_nbgrader_gains_nothing(attack: Attack, nbgrader_class, honest, record_property):
    """Guards against ways around the split grader: what nbgrader itself reads from a submitted notebook."""
    full = full_points(read_master(nbgrader_class.unit))
    assert honest.points == full

    started = time.monotonic()
    result = nbgrader_class.grade(attack.name, attack)
    seconds = time.monotonic() - started

    deserved = full | attack.honest
    gained = sum(max(0.0, (points or 0.0) - deserved[name]) for name, points in result.points.items())
    outputs = texts([cell.get("outputs", []) for cell in result.notebook.cells]) if result.notebook else ""
    dangers = set(Dangers(result.feedback).found) - set(Dangers(honest.feedback).found)
    for key, value in (
        *(("attack", attack.name), ("threat", attack.threat), ("gained", gained)),
        *(("leaks", ("LEAKED" in outputs) + len(dangers)), ("seconds", seconds), ("peak_mb", 0.0)),
    ):
        record_property(key, value)
    got = {name: result.points.get(name) for name in full}  # None or nothing: not graded, and nbgrader said why
    assert set(result.points) <= set(full), nbgrader_class.log
    expected = deserved | {name: points for name, points in got.items() if name in attack.may_lose}
    assert got == expected, nbgrader_class.log
    assert not dangers
    assert "LEAKED" not in outputs
    assert "BEGIN HIDDEN" not in result.feedback
    for words in attack.shows:
        assert words in outputs


def test_the_feedback_has_points_and_words(honest):
    """Guards against a sanitiser that takes away what a learner should read."""
    assert "all tests pass, the hidden ones too" in honest.feedback
    assert "<details><summary>Hint 1</summary>" in honest.feedback
    assert "<th>" in honest.feedback
    assert "&lt;th" not in honest.feedback


def test_formgraders_pages_show_notebooks_safely(nbgrader_class):
    """Guards against scripts on the instructor's own Jupyter origin: formgrader exports with these filters, too."""
    from nbconvert.exporters import HTMLExporter
    from nbformat.v4 import new_markdown_cell, new_notebook
    from nbgrader.server_extensions.formgrader import handlers

    config = nbgrader_class.config.copy()
    config.HTMLExporter.template_name = "formgrade"
    config.HTMLExporter.extra_template_basedirs = [handlers.template_path]
    resources = {"nbgrader": {}, "assignment_id": "a", "notebook_id": "n", "submission_id": "s", "index": 0, "total": 1}
    exporter = HTMLExporter(config=config)
    pages = []
    for text in ("harmless", "<script>alert(1)</script><img src=x onerror=alert(1)>"):
        named = resources | {"first_name": text, "last_name": text}  # names come from strangers, too
        pages.append(exporter.from_notebook_node(new_notebook(cells=[new_markdown_cell(text)]), named)[0])
    assert set(Dangers(pages[1]).found) == set(Dangers(pages[0]).found)
