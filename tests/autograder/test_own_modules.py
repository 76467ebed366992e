"""A learner's own modules and files: written by a cell, used by another, there again after a crash."""

import pytest
from three_exercises import NAMES, points, shown

WRITES = "%%writefile helpers.py\ndef plus(a, b):\n    return a + b"
PACKAGE = (
    "from pathlib import Path\n"
    "Path('mine').mkdir()\n"
    "Path('mine/__init__.py').write_text('')\n"
    "Path('mine/helpers.py').write_text('def plus(a, b): return a + b')"
)
LOOKS = "try:\n    import helpers\nexcept ImportError:\n    pass"
SUBTRACTS = WRITES.replace("a + b", "a - b")
RELOADS = "import importlib\nplus = importlib.reload(helpers).plus"
USES = "def one(a, b):\n    return plus(a, b)"
CRASHES = "import os\ndef one(a, b):\n    os._exit(1)"


@pytest.mark.parametrize(
    "cells",
    [
        pytest.param([WRITES, "from helpers import plus"], id="from"),
        pytest.param([WRITES, "from helpers import *"], id="star"),
        pytest.param([WRITES, "import helpers\nplus = helpers.plus"], id="module"),
        pytest.param([WRITES, "%run helpers.py"], id="run"),
        pytest.param([WRITES, "exec(open('helpers.py').read())"], id="file"),
        pytest.param([WRITES, "%load_ext autoreload", "%autoreload 2", "from helpers import plus"], id="autoreload"),
        pytest.param([PACKAGE, "from mine.helpers import plus"], id="package"),
        pytest.param([PACKAGE, "import sys\nsys.path.append('mine')\nfrom helpers import plus"], id="path"),
        pytest.param([LOOKS, WRITES, "from helpers import plus"], id="looked-before"),
        pytest.param([SUBTRACTS, "import helpers", WRITES, RELOADS], id="written-again"),
    ],
)
def test_what_a_cell_writes_another_can_use(grade, cells):
    """Guards against a sandbox whose folder isn't the notebook's, as it is in Jupyter."""
    graded = grade(before={"one": cells}, answers={"one": USES})
    assert points(graded) == [2, 2, 2], graded


def test_modules_are_there_again_after_a_crash(grade):
    """Guards against a new process that has no files: what wrote them is replayed."""
    later = "from helpers import plus\ndef three(a, b):\n    return plus(a, b)"
    graded = grade(before={"one": [WRITES]}, answers={"one": CRASHES, "three": later})
    assert points(graded) == [0, 2, 2]


def test_a_module_of_one_learners_is_not_the_next_ones(grade):
    """Guards against a folder that is kept."""
    grade(before={"one": [WRITES, "import helpers"]})
    graded = grade(before={"one": ["import helpers"]})
    assert shown(graded)[0]["ename"] == "ModuleNotFoundError"


@pytest.mark.parametrize("cell", ["import my_own_module", "open('data.csv')"])
def test_a_file_that_lay_beside_the_notebook_is_not_there_and_it_is_said(grade, cell):
    """Guards against an error that a learner, on whose machine the cell works, can't explain."""
    graded = grade(before={"one": [cell]})
    assert "the notebook alone" in shown(graded)[-1]["text"]
    assert points(graded) == [2] * len(NAMES)


def test_a_module_by_a_librarys_name_costs_only_its_author(grade):
    """Guards against a learner's file that is taken for a library's where the grader computes."""
    shadows = "%%writefile torch.py\nraise RuntimeError('mine')"
    other = "%%writefile fractions.py\nFraction = None"
    graded = grade(before={"one": [shadows, other, "import torch, fractions, random, json"]})
    assert points(graded) == [2, 2, 2]
