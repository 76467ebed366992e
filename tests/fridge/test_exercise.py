"""`exercise` tells its three outcomes apart, in words that a learner can act on. The cells run in IPython, as in a
notebook: each has a file name of its own, and what it shows is what a learner sees."""

from collections.abc import Callable, Iterator

import pytest
from IPython.core.interactiveshell import InteractiveShell

from fridge.notebook import grading, scoreboard, syllabus
from fridge.testing import NotAttempted, Wrong, exercise
from fridge.testing.outcome import STUB_MESSAGE

Cell = Callable[[str], Exception | None]


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch, tmp_path) -> Iterator[Cell]:
    """Runs a cell of a notebook; returns what it raised."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    exercises = {"doubling": {"title": "1 · Double", "points": 2}, "other": {"title": "2 · Other", "points": 1}}
    monkeypatch.setattr(syllabus, "whole", lambda: {"03-kv-cache": {"exercises": exercises}})
    shell = InteractiveShell()

    def run(source: str) -> Exception | None:
        result = shell.run_cell(source)
        return result.error_before_exec or result.error_in_exec

    run("import torch\nfrom fridge.testing import *")
    yield run
    shell.history_manager.end_session()


TEST = (
    "with exercise('doubling'):\n    expect_equal(double([1, 2, 3]), [2, 4, 6], 'a list', 'the items and not the list')"
)
RIGHT = "def double(x):\n    return [2 * i for i in x]"


def test_right(cell: Cell, capsys: pytest.CaptureFixture) -> None:
    """Guards against silence, or an exception, where all is well."""
    cell(RIGHT)
    assert cell(TEST) is None
    assert (
        capsys.readouterr().out
        == "✓ doubling: the tests in this cell pass. Its 2 points count when the hidden tests pass, too.\n"
    )
    assert scoreboard.ready("doubling")


def test_untouched(cell: Cell) -> None:
    """Guards against an untouched exercise that reads like a mistake."""
    cell(f"def double(x):\n    raise NotImplementedError({STUB_MESSAGE!r})")
    error = cell(TEST)
    assert type(error) is NotAttempted
    assert "○ doubling: not attempted yet (2 points)" in str(error)
    assert not isinstance(error, AssertionError)


def test_wrong_value(cell: Cell) -> None:
    """Guards against a message without what was expected, what came, and why that may be."""
    cell("def double(x):\n    return x * 2")
    error = cell(TEST)
    assert type(error) is Wrong
    assert str(error).splitlines() == [
        "✗ doubling: not right yet.",
        "  a list",
        "  expected: [2, 4, 6]",
        "  got:      [1, 2, 3, 1, 2, 3]",
        "  likely cause: the items and not the list",
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("return x / 0", "TypeError: unsupported operand type(s) for /: 'list' and 'int'"),
        ("raise NotImplementedError('todo: lists')", "NotImplementedError: todo: lists"),
        ("raise NotImplementedError", "NotImplementedError"),
        ("return torch.zeros(2, device='meta').cpu()", "NotImplementedError: Cannot copy out of meta tensor"),
        ("assert len(x) == 2, 'two only'", "AssertionError: two only"),
        ("return torch.zeros(2) @ torch.zeros(3)", "RuntimeError: "),
        ("raise SystemExit('done')", "SystemExit: done"),
        ("return double(x)", "RecursionError: "),
    ],
)
def test_the_learners_exception(cell: Cell, line: str, said: str) -> None:
    """Guards against an exception that is reported as "not attempted", or without the learner's line."""
    cell(f"def double(x):\n    {line}")
    error = cell(TEST)
    assert type(error) is Wrong
    assert f"✗ doubling: your code raised {said}" in str(error)
    assert f"line 2, in double:  {line}" in str(error)
    assert "not attempted" not in str(error)
    assert len(str(error)) < 1500


@pytest.mark.parametrize("ends", ["1 / 0", "exit()"])
def test_an_error_without_words(cell: Cell, ends: str) -> None:
    """Guards against a test that says nothing, for the words of the learner's error raise another one."""
    cell(f"class Mute(Exception):\n    def __str__(self):\n        {ends}")
    cell("def double(x):\n    raise Mute")
    for test in (TEST, "with exercise('doubling'):\n    expect_raises(ValueError, lambda: double(1), 'one')"):
        error = cell(test)
        assert type(error) is Wrong
        assert "✗ doubling: " in str(error)
        assert "Mute" in str(error)


def test_exceptions_from_deeper_down(cell: Cell) -> None:
    """Guards against lines of a library in the message, the test's lines in it (a hidden test may stand there), and
    the learner's inner function left out."""
    cell("def double(x):\n    return [inner(i) for i in x]")
    cell("def inner(i):\n    return torch.nn.functional.linear(torch.zeros(2), torch.zeros(3, 3))")
    error = cell("with exercise('doubling'):\n    secret = [1]\n    expect_equal(double(secret), [2], 'one item')")
    case, *lines = str(error).splitlines()[1:]
    assert case == "  in the case: one item"
    assert "double" in lines[0]
    assert lines[-1].startswith("  line 2, in inner:  return torch.nn.functional.linear")
    assert "secret" not in str(error)
    assert "site-packages" not in str(error)


def test_a_tests_own_error_is_called_what_a_learner_catches_it_as(cell: Cell) -> None:
    """Guards against a class in the message that no learner has heard of, and that has another name in grading."""
    cell("def double(x):\n    Card({}).run(16, (1, 2, 3))")
    assert "your code raised ValueError: this tile doesn't fit" in str(cell(TEST))


@pytest.mark.parametrize("words", ["f'{text:.2f}'", "f'{text % 2}'", "f'{1 // zero}'", "f'{9 ** 9 ** 9 ** 9}'"])
def test_words_of_a_case_that_can_t_be_said(cell: Cell, words: str) -> None:
    """Guards against an error of the case's words in place of the learner's: in grading it'd be called the course's."""
    cell("def double(x):\n    raise ValueError('no')")
    error = cell(f"with exercise('doubling'):\n    text, zero = 'five', 0\n    expect_equal(double(1), 2, {words})")
    assert "your code raised ValueError: no" in str(error)
    assert "in the case" not in str(error)


def test_a_learners_callable_without_a_module(cell: Cell) -> None:
    cell("double = [2].index\nassert double.__module__ is None")
    assert "your code raised ValueError" in str(
        cell("with exercise('doubling'):\n    expect_equal(double(1), 2, 'one')")
    )


@pytest.mark.parametrize("line", ["double([1])[0]", "len(double([1]))", "double([1]).shape", "a, b = double([1])"])
def test_none_in_the_test_s_own_line(cell: Cell, line: str) -> None:
    """Guards against "'NoneType' object is not subscriptable", which tells a learner nothing of their own code."""
    cell("def double(x):\n    x * 2")
    assert "Likely cause: a `return` is missing." in str(cell(f"with exercise('doubling'):\n    {line}"))
    cell("def double(x):\n    return None[0]")
    assert "Likely cause" not in str(cell(f"with exercise('doubling'):\n    {line}"))


def test_what_a_tick_means(cell: Cell, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against ✓ that promises points which hidden tests decide about, and hidden tests that come unforeseen."""
    listed = {"title": "1 · Double", "points": 1, "looks_at": ["no item", "a tensor"], "because": "Each item doubles."}
    monkeypatch.setattr(syllabus, "whole", lambda: {"03-kv-cache": {"exercises": {"doubling": listed}}})
    cell(RIGHT)
    cell(TEST)
    assert capsys.readouterr().out == (
        "✓ doubling: the tests in this cell pass. Its 1 point counts when the hidden tests pass, too; they look at: no "
        "item; a tensor.\n  Right because: Each item doubles.\n"
    )
    monkeypatch.setattr(grading, "_said", grading.Role.TESTING)
    cell(TEST)
    assert capsys.readouterr().out == (
        "✓ doubling: all tests pass, the hidden ones too (1 point).\n  Right because: Each item doubles.\n"
    )
    cell(f"def double(x):\n    raise NotImplementedError({STUB_MESSAGE!r})")
    assert str(cell(TEST)).endswith("\n  Hidden tests look at: no item; a tensor.")


def test_a_cell_that_was_not_run(cell: Cell) -> None:
    """Guards against a bare NameError for the learner who ran only the tests."""
    error = cell(TEST)
    assert type(error) is Wrong
    assert "NameError: name 'double' is not defined" in str(error)
    assert "has not been run" in str(error)


CALLS = "def quadruple(x):\n    return double(double(x))"
BUILDS = "with exercise('other'):\n    builds_on('doubling')\n    expect_equal(quadruple([1]), [4], 'a list')"
FIRST = "  First do “1 · Double”: your answer here may call it, and its own tests don't pass yet."


@pytest.mark.parametrize(
    ("earlier", "heading"),
    [
        (
            f"def double(x):\n    raise NotImplementedError({STUB_MESSAGE!r})",
            "○ other: not attempted yet, or it calls what isn't (1 point). Fill in the exercise's cell and run it.",
        ),
        ("def double(x):\n    return 2 * x", "✗ other: not right yet."),
        ("def double(x):\n    return 1 / 0", "✗ other: your code raised ZeroDivisionError: division by zero"),
    ],
)
def test_which_exercise_to_do_first(cell: Cell, earlier: str, heading: str) -> None:
    """Guards against a mistake in one exercise that is looked for in the next."""
    cell(f"{earlier}\n\n{CALLS}")
    cell(TEST)
    assert str(cell(BUILDS)).splitlines()[:2] == [heading, FIRST]


def test_an_earlier_exercise_that_is_right_is_not_sent_back_to(cell: Cell) -> None:
    """Guards against a learner who mends what is right, or what no test has looked at."""
    cell(f"{RIGHT}\n\ndef quadruple(x):\n    return 5")
    scoreboard._outcomes.pop("doubling", None)
    assert "First do" not in str(cell(BUILDS))
    cell(TEST)
    assert "First do" not in str(cell(BUILDS))
    cell("def double(x):\n    return x")
    cell(TEST)
    cell(BUILDS.replace("    builds_on('doubling')\n", ""))
    assert "First do" not in str(cell(BUILDS.replace("    builds_on('doubling')\n", "")))


def test_shown_without_a_traceback(cell: Cell, capsys: pytest.CaptureFixture) -> None:
    """Guards against forty lines of the test's own traceback above the sentence that matters."""
    cell("def double(x):\n    return x")
    cell(TEST)
    shown = "".join(capsys.readouterr())
    assert "✗ doubling: not right yet." in shown
    assert "Traceback" not in shown
    assert "outcome.py" not in shown


def test_the_last_run_counts(cell: Cell) -> None:
    """Guards against a scoreboard that remembers a success after the code was broken again."""
    cell(RIGHT)
    cell(TEST)
    for body in ("return x", "exit()", f"raise NotImplementedError({STUB_MESSAGE!r})"):
        scoreboard.record("doubling", scoreboard.RIGHT)
        cell(f"def double(x):\n    {body}")
        cell(TEST)
        assert not scoreboard.ready("doubling")


def test_an_interrupt_is_no_answer() -> None:
    """Guards against Ctrl-C, or JupyterLab's stop button, that counts as wrong."""
    with pytest.raises(KeyboardInterrupt), exercise("doubling"):
        raise KeyboardInterrupt
    assert "doubling" not in scoreboard._outcomes
