"""In grading, work is measured in the learner's process, as it is in a notebook; odd numbers are no answer."""

import msgpack
import pytest
from raw_answers import RAW
from three_exercises import points

TEST = """
import torch
from fridge.testing import exercise, expect_equal, held_bytes, measured
with exercise('{0}'):
"""
CALL = """
    value, work = measured({0}, torch.ones(2, 3), b=torch.ones(3, 4))
    expect_equal([value, work.flops, work.largest, work.launches], [[[3.0] * 4] * 2, 48, 32, 0], 'work')
"""
TOOK = """
    from fridge.testing import allocated, expect_true
    allocated({0}, 3, b=4)  # what is imported in a first call counts, too
    value, size = allocated({0}, 3, b=4)
    expect_true(100_000 <= size < 120_000, 'bytes taken', '100 000', size)
"""
HELD = "    expect_equal(held_bytes({0}(3, 4)), 48, 'bytes held')\n"


@pytest.mark.parametrize(
    ("test", "answer", "earned"),
    [
        (CALL, "def one(a, b):\n    return a @ b", 2),
        (CALL, "def one(a, b):\n    a @ b\n    return a @ b", 0),
        (CALL, "def one(a, b):\n    return (a[..., None] * b).sum(1)", 0),
        (TOOK, "def one(a, b):\n    return len(bytes(100_000))", 2),
        (TOOK, "def one(a, b):\n    return len(bytes(200_000))", 0),
        (HELD, "import torch\nclass one:\n    def __init__(self, a, b):\n        self.x = torch.ones(a, b)", 2),
        (HELD, "import torch\nclass one:\n    def __init__(self, a, b):\n        self.x = [torch.ones(a, b)] * 2", 2),
        (
            HELD,
            "import torch\nclass one:\n    def __init__(self, a, b):\n        self.x = {1: torch.ones(a + 1, b)}",
            0,
        ),
    ],
)
def test_work_is_measured_where_it_is_done(grade, test, answer, earned):
    graded = grade(test=TEST + test, answers={"one": answer})
    assert points(graded) == [earned, 2, 2], graded.verdicts["one-test"].message


KEEPS = """    def call():
        return 1
    expect_equal(held_bytes({0}(call)), 48, 'bytes held')
"""
KEPT = """
import torch
MORE = torch.ones(1000)
class one:
    def __init__(self, call):
        self.call, self.x = call, torch.ones(12)
"""


def test_a_test_s_object_is_not_held_by_who_keeps_it(grade):
    """Guards against all of the learner's process being counted: in grading it can be reached from such an object."""
    graded = grade(test=TEST + KEEPS, answers={"one": KEPT})
    assert points(graded) == [2, 2, 2], graded.verdicts["one-test"].message


def test_objects_in_a_list_say_themselves_what_they_hold(grade):
    test = TEST + "    expect_equal(held_bytes([{0}(3, 4), {0}(3, 4)]), 96, 'bytes held')\n"
    answer = "import torch\nclass one:\n    def __init__(self, a, b):\n        self.x = torch.ones(a, b)"
    graded = grade(test=test, answers={"one": answer})
    assert points(graded) == [2, 2, 2], graded.verdicts["one-test"].message


def test_a_change_of_arguments_shows_in_a_measured_call(grade):
    graded = grade(test=TEST + CALL, answers={"one": "def one(a, b):\n    c = a @ b\n    a.zero_()\n    return c"})
    assert "one() changes its argument `a`" in graded.verdicts["one-test"].message


@pytest.mark.parametrize("numbers", [[48, 32], [48, 32, -1], [48, 32.0, 0], [48, 32, True], 5, [48, 32, 2**63], None])
def test_odd_numbers_are_no_answer(grade, numbers):
    pair = msgpack.ExtType(1, msgpack.packb([3, numbers]))
    answer = RAW.format(message=f"msgpack.unpackb({msgpack.packb(['ok', pair, []])!r})")
    graded = grade(test=TEST + CALL, answers={"one": answer})
    assert points(graded) == [0, 2, 2]
    assert "your code was stopped: the answer to a measured call" in graded.verdicts["one-test"].message


@pytest.mark.parametrize("size", [-1, 1.5, True, "48", None])
def test_odd_sizes_are_no_answer(grade, size):
    pair = msgpack.ExtType(1, msgpack.packb([3, size]))
    answer = RAW.format(message=f"msgpack.unpackb({msgpack.packb(['ok', pair, []])!r})")
    graded = grade(test=TEST + TOOK, answers={"one": answer})
    assert points(graded) == [0, 2, 2]
    assert "your code was stopped: the answer to a measured call" in graded.verdicts["one-test"].message


@pytest.mark.parametrize("held", [-1, 1.5, True, "48", None])
def test_odd_bytes_are_no_answer(grade, held):
    raw = RAW.format(message=f"msgpack.unpackb({msgpack.packb(['ok', held, []])!r})")
    answer = raw.replace("def one(a, b):", "class one:\n  def __init__(self, a, b): pass\n\ndef lie(_):")
    answer += "import sys\nsys.modules['autograder.isolation.learner'].held_bytes = lie\n"
    graded = grade(test=TEST + HELD, answers={"one": answer})
    assert points(graded) == [0, 2, 2]
    assert "the bytes that an object holds" in graded.verdicts["one-test"].message
