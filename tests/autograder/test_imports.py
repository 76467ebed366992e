"""Imports done once for all submissions: the right ones in the right process."""

import sys

import jupytext

from autograder.isolation import imports

MASTER = jupytext.reads(
    """
# %% [markdown]
# import in_prose

# %%
import torch
from fridge.workbench import plots

# %% tags=["for-real"]
import costly

# %%
# %matplotlib inline
import after_a_magic

# %% nbgrader={"grade": false, "grade_id": "add", "solution": true}
import of_the_answer

# %% nbgrader={"grade": true, "grade_id": "add-test", "points": 2, "solution": false}
from fridge.testing import exercise
with exercise("add"):
    import of_the_test
""",
    fmt="py:percent",
)


def test_learners_processes_get_what_the_handout_shows_and_nothing_else():
    """Guards against answers and hidden tests in the warm process, whose command line learners can read."""
    found = imports.of_handout(MASTER)
    assert found[:2] == ("import torch", "from fridge.workbench import plots")
    assert set(found[2:]) <= {"import after_a_magic"}


def test_the_grader_gets_what_the_tests_import():
    """Guards against seconds of imports in each submission's process."""
    assert imports.of_tests(MASTER) == ("from fridge.testing import exercise", "import of_the_test")


def test_an_import_that_fails_is_left_to_its_cell():
    """Guards against a sandbox that doesn't start over one cell's missing library."""
    imports.run(("import no_such_module", "import stringprep"))
    assert "stringprep" in sys.modules
