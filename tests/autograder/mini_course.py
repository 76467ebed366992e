"""A course of one small exercise to reason about: its master, answers to it, and recall questions."""

from pathlib import Path

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


def write_sample(root: Path, kind: str, name: str, body: str, loses: str = "") -> None:
    """Add a sample answer to the mini course's exercise."""
    folder = root / "tests" / "submissions" / "00-mini" / kind
    folder.mkdir(parents=True, exist_ok=True)
    promise = f"\n\nloses: {loses}\n" if loses else ""
    (folder / f"{name}.py").write_text(
        f'"""A way to add.{promise}"""\n\n# %% nbgrader={{"grade_id": "add", "solution": true, "grade": false}}\n'
        f"def add(a, b):\n    {body}\n"
    )
