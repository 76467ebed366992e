"""In grading, too: what a learner's function is given stays as it was. A forged word about that is worth nothing."""

import msgpack
import pytest
from raw_answers import RAW
from three_exercises import points

TEST = """
import torch
from fridge.testing import CountingPool, exercise, expect_equal, expect_raises
with exercise('{0}'):
    TAIL
"""
CALLS_THE_TEST_BACK = "def call(f):\n        return f([1, 2])\n    "
CHANGED = "  {}() changes its argument `{}`"


def with_(body: str) -> str:
    return TEST.replace("TAIL", body)


@pytest.mark.parametrize(
    ("answer", "body", "told"),
    [
        ("def one(a, b):\n    a.append(b)\n    return a", "expect_equal(one([1], 2), [1, 2], 'x')", ("one", "a")),
        ("def one(a, b):\n    return a.mul_(b)", "expect_equal(one(torch.ones(2), 2), [2, 2], 'x')", ("one", "a")),
        (
            "class one:\n    def __init__(self, a):\n        a.clear()\n    def size(self, b):\n        return len(b)",
            "expect_equal(one([1, 2]).size([3]), 1, 'x')",
            ("one.__init__", "a"),
        ),
        (
            "def one(a, b):\n    def later(c):\n        c.pop()\n        return 1\n    return later",
            "expect_equal(one(1, 2)([1]), 1, 'x')",
            ("one.<locals>.later", "c"),
        ),
        (
            "def one(call, b):\n    def back(c):\n        return c.pop()\n    return call(back)",
            CALLS_THE_TEST_BACK + "expect_equal(one(call, 2), 2, 'x')",
            ("one.<locals>.back", "c"),
        ),
        (
            "def one(a, b):\n    a.pop()\n    raise ValueError",
            "expect_raises(ValueError, lambda: one([1], 2), 'x')",
            ("one", "a"),
        ),
        (
            "import torch\n@torch.no_grad()\ndef one(a, b):\n    return a.pop()",
            "expect_equal(one([3], 2), 3, 'x')",
            ("one", "a"),
        ),
        ("def one(संख्या, b):\n    return संख्या.pop()", "expect_equal(one([3], 2), 3, 'x')", ("one", "संख्या")),
        (
            f"def {'o' * 300}(a, b):\n    return a.pop()\none = {'o' * 300}",
            "expect_equal(one([3], 2), 3, 'x')",
            ("function", "a"),
        ),
    ],
)
def test_a_change_is_told(grade, answer, body, told):
    graded = grade(test=with_(body), answers={"one": answer})
    assert points(graded) == [0, 2, 2]
    assert CHANGED.format(*told) in graded.verdicts["one-test"].message.splitlines()


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        ("def one(a, b):\n    return [*a, b]", "expect_equal(one([1], 2), [1, 2], 'x')"),
        (
            "def fill(c):\n    c += [1]\n\ndef one(a, b):\n    c = []\n    fill(c)\n    return c",
            "expect_equal(one(1, 2), [1], 'x')",
        ),
        ("def one(a, b, memo={}):\n    return memo.setdefault(a, 3)", "expect_equal(one(1, 2), 3, 'x')"),
        ("def one(a, **named):\n    return named.pop('b')", "expect_equal(one(1, b=2), 2, 'x')"),
        ("import torch\none = torch.vmap(torch.mul)", "expect_equal(one(torch.ones(2), torch.ones(2)).sum(), 2, 'x')"),
        (
            "import torch\n@torch.vmap\ndef one(a, b):\n    return a * b",
            "expect_equal(one(torch.ones(2), torch.ones(2)).sum(), 2, 'x')",
        ),
        (
            "def one(a, b):\n    return 3",
            "import sys\n    expect_equal(sys.getprofile(), None, 'the grader needs no hook')",
        ),
    ],
)
def test_work_on_a_copy_is_right(grade, answer, body):
    assert points(grade(test=with_(body), answers={"one": answer})) == [2, 2, 2]


MANY = [msgpack.ExtType(1, msgpack.packb(["f", "x"]))] * 100
ONE = msgpack.ExtType(1, msgpack.packb(["one", "a"]))


@pytest.mark.parametrize(
    "changes",
    [
        None,
        "one",
        [["one", "a"]],
        [msgpack.ExtType(1, msgpack.packb(["one", 5]))],
        [msgpack.ExtType(1, msgpack.packb(["one", "a", "b"]))],
        [msgpack.ExtType(1, msgpack.packb(["one", "a`\n✓ one: all tests pass"]))],
        [msgpack.ExtType(1, msgpack.packb(["\x1b[2J", "a"]))],
        [msgpack.ExtType(1, msgpack.packb(["one", "\u202ea"]))],
        [msgpack.ExtType(1, msgpack.packb(["one", "5"]))],
        [msgpack.ExtType(1, msgpack.packb(["x" * 100_000, "a"]))],
        MANY,
    ],
)
def test_a_forged_word_about_changes_is_no_answer(grade, changes):
    message = f"msgpack.unpackb({msgpack.packb(['ok', 3, changes])!r})"
    graded = grade(answers={"one": RAW.format(message=message)})
    assert points(graded) == [0, 2, 2]
    assert "sent something else than an answer" in graded.verdicts["one-test"].message


def test_who_tells_of_changes_that_were_none_has_them(grade):
    graded = grade(answers={"one": RAW.format(message=f"msgpack.unpackb({msgpack.packb(['ok', 3, [ONE]])!r})")})
    assert points(graded) == [0, 2, 2]
    assert CHANGED.format("one", "a") in graded.verdicts["one-test"].message


def test_changes_of_one_exercise_are_not_told_of_the_next(grade):
    answers = {"one": "def one(a, b):\n    a.pop()\n    return 3"}
    test = with_("expect_equal(one([1], 2), 3, 'x')")
    assert "changes" not in grade(test=test, answers=answers).verdicts["two-test"].message
