"""A copy of the real course to change at will, and a course of one small exercise to reason about."""

import shutil
from pathlib import Path

import pytest
from nbgrader.api import Gradebook
from three_exercises import grade, sandbox  # noqa: F401 - fixtures

from autograder.course import nbgrader_configuration

ROOT = Path(__file__).resolve().parents[2]

# ruff: noqa: E501 - nbgrader's metadata takes a line
MASTER = '''# %% [markdown]
# # Mini
#
# | Points | 3, in one exercise |

# %% [markdown]
# ### Exercise 1 · Add (3 points)
#
# Whole numbers of any size, negative
# ones and zero, too.

# %% nbgrader={"grade": false, "grade_id": "add", "locked": false, "schema_version": 3, "solution": true, "task": false}
def add(a, b):
    """The sum."""
    ### BEGIN SOLUTION
    return a + b  # the answer
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "add-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
from fridge.testing import exercise, expect_equal

with exercise("add"):
    expect_equal(add(1, 2), 3, "1 + 2")
    ### BEGIN HIDDEN TESTS
    # Looks at: negative numbers; numbers that are long,
    #   very long; zero.
    # Stated by: "negative ones" | "Whole numbers of any size" |
    #   "and zero, too"
    # Right because: a sum has
    #   no order.
    expect_equal(add(-1, 2), 1, "a negative number")
    ### END HIDDEN TESTS

# %% tags=["for-real"]
raise RuntimeError("grading must not run this cell")
'''

WRONG = {
    "subtracts": "return a - b",
    "multiplies": "return a * b",
    "forgets_to_return": "a + b",
    "adds_sizes": "return abs(a) + abs(b)",
    "loops_for_ever": "while True: pass",
}
RECALL = """[[question]]
ask = "What is 1 + 1?"
options = ["1", "2", "3"]
right = 1
because = "One and one is two."
"""
RIGHT = {"swapped": "return b + a", "by_sum": "return sum((a, b))"}


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
    (root / "course" / "fridge").mkdir(parents=True)
    (root / "solutions" / "00-mini" / "mini.py").write_text(MASTER)
    (root / "solutions" / "grade_ids.json").write_text('{"00-mini": ["add", "add-test"]}')
    for name in ("nbgrader_config.py", "pyproject.toml"):
        shutil.copy(ROOT / name, root)
    (root / "course" / "fridge" / "notebook" / "recall").mkdir(parents=True)
    (root / "course" / "fridge" / "notebook" / "recall" / "00-mini.toml").write_text(3 * RECALL)
    for name, body in WRONG.items():
        write_sample(root, "wrong", name, body, loses="add-test")
    for name, body in RIGHT.items():
        write_sample(root, "right", name, body)
    return root


def write_sample(root: Path, kind: str, name: str, body: str, loses: str = "") -> None:
    """Add a sample answer to the mini course's exercise."""
    folder = root / "tests" / "submissions" / "00-mini" / kind
    folder.mkdir(parents=True, exist_ok=True)
    promise = f"\n\nloses: {loses}\n" if loses else ""
    (folder / f"{name}.py").write_text(
        f'"""A way to add.{promise}"""\n\n# %% nbgrader={{"grade_id": "add", "solution": true, "grade": false}}\n'
        f"def add(a, b):\n    {body}\n"
    )


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
