"""A copy of the real course to change at will, and the small one of `mini_course` on disk."""

import shutil
from pathlib import Path

import pytest
from mini_course import MASTER, RECALL, RIGHT, ROOT, WRONG, write_sample
from nbgrader.api import Gradebook
from three_exercises import grade, sandbox  # noqa: F401 - fixtures

from autograder.course import nbgrader_configuration


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """The real course, copied: masters, pairs, handouts, samples."""
    skip = shutil.ignore_patterns(".venv*", ".git", "grading", "artifacts", "__pycache__", ".*_cache")
    return Path(shutil.copytree(ROOT, tmp_path / "course", ignore=skip))


@pytest.fixture(scope="session")
def empty_gradebook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gradebook with tables and nothing in them, to copy: nbgrader takes seconds to make one."""
    school = tmp_path_factory.mktemp("gradebook")
    shutil.copy(ROOT / "nbgrader_config.py", school)
    Gradebook(nbgrader_configuration(school).CourseDirectory.db_url).close()
    return school / "grading" / "gradebook.db"


@pytest.fixture
def mini(tmp_path: Path) -> Path:
    """A course of one unit with one exercise, `MASTER`, and its samples."""
    root = tmp_path / "mini"
    (root / "solutions" / "00-mini").mkdir(parents=True)
    (root / "course/fridge/notebook").mkdir(parents=True)
    (root / "solutions" / "00-mini" / "mini.py").write_text(MASTER)
    (root / "solutions" / "grade_ids.json").write_text('{"00-mini": ["add", "add-test"]}')
    for name in ("nbgrader_config.py", "pyproject.toml"):
        shutil.copy(ROOT / name, root)
    (root / "course/fridge/notebook/recall").mkdir()
    (root / "course/fridge/notebook/recall" / "00-mini.toml").write_text(3 * RECALL)
    for name, body in WRONG.items():
        write_sample(root, "wrong", name, body, loses="add-test")
    for name, body in RIGHT.items():
        write_sample(root, "right", name, body)
    return root


def pytest_terminal_summary(terminalreporter) -> None:
    """The table of odd submissions: what was sent, what happened."""
    reports = terminalreporter.stats.get("passed", []) + terminalreporter.stats.get("failed", [])
    rows = [dict(report.user_properties) for report in reports if report.when == "call"]
    rows = [row for row in rows if "sent" in row]
    if not rows:
        return
    terminalreporter.section("odd submissions")
    for row in rows:
        terminalreporter.line(f"{row['sent']:<72}  {row.get('happened', 'FAILED')}")
    refused = sum(row.get("happened", "").startswith("refused") for row in rows)
    terminalreporter.line(f"{len(rows)} odd submissions: {len(rows) - refused} graded, {refused} refused")
