"""What a learner's function is given stays as it was: a change is told, whatever else is right or wrong."""

import sys

import pytest
from IPython.core.interactiveshell import InteractiveShell

from fridge.testing import Wrong
from fridge.testing.changed import MOST

HEAD = "import torch\nimport numpy as np\nfrom fridge.testing import exercise, expect_equal, expect_raises\n"


def told(answer: str, body: str) -> str:
    """The message for an answer and a test's body; empty where the test passes."""
    shell = InteractiveShell.instance()
    assert shell.run_cell(HEAD + answer).success
    result = shell.run_cell(HEAD + "with exercise('t'):\n" + "".join(f"    {line}\n" for line in body.splitlines()))
    assert result.success or isinstance(result.error_in_exec, Wrong)
    return "" if result.success else str(result.error_in_exec)


@pytest.mark.parametrize(
    ("change", "given"),
    [
        ("x.add_(1)", "torch.zeros(3)"),
        ("x[0] = 5", "torch.zeros(3)"),
        ("x.data += 1", "torch.zeros(3)"),
        ("x.detach().numpy()[0] = 1", "torch.zeros(3)"),
        ("x.t_()", "torch.zeros(2, 3)"),
        ("x.resize_(1)", "torch.zeros(3)"),
        ("x.relu_()", "torch.tensor([float('nan'), -1.0])"),
        ("x[-1, -1] = 5", "torch.zeros(3, 2).t()"),
        ("x.logical_not_()", "torch.zeros(3, dtype=torch.bool)"),
        ("x += 1", "np.zeros(3)"),
        ("x.sort()", "[2, 1]"),
        ("x.pop()", "[2, 1]"),
        ("x += [1]", "[2, 1]"),
        ("x[0].append(1)", "[[], 1]"),
        ("x[0].append(1)", "([], 1)"),
        ("x[0].mul_(2)", "[torch.ones(3)]"),
        ("x.setdefault('b', 1)", "{'a': 1}"),
        ("x['a'].clear()", "{'a': [1]}"),
        ("x.discard(1)", "{1, 2}"),
        ("y = x; x = None; y.pop()", "[2, 1]"),
        ("x[:] = [None, x[1]]", "[2, 1]"),
    ],
)
def test_a_change_is_told(change, given):
    message = told(f"def f(x, n=0):\n    {change}\n    return 1\n", f"x = {given}\nexpect_equal(f(x), 1, 'one')")
    assert message.splitlines()[:3] == [
        "✗ t: not right yet.",
        "  f() changes its argument `x`",
        "  expected: what it is given stays as it was",
    ]


@pytest.mark.parametrize(
    ("work", "given"),
    [
        ("x = x + 1", "torch.zeros(3)"),
        ("x = x.clone().add_(1)", "torch.tensor([float('nan'), 1.0])"),
        ("x.add_(0)", "torch.zeros(3)"),  # the values are what counts
        ("x.requires_grad_()", "torch.zeros(3)"),
        ("(x * 2).sum().backward()", "torch.zeros(3, requires_grad=True)"),
        ("x = sorted(x)", "[2, 1]"),
        ("x[0] = x[0] + 0", "[2, 1]"),
        ("x = [*x]; x.pop()", "[2, float('nan')]"),
        ("x = dict(x); x['b'] = 1", "{'a': [torch.zeros(1)]}"),
        ("next(x)", "iter([1, 2])"),
        ("x.values.append(1)", "type('Lent', (), {'values': []})()"),  # what objects do is for them to say
        ("x.add(5)", "type('Mine', (set,), {})()"),
    ],
)
def test_work_on_a_copy_is_no_change(work, given):
    assert told(f"def f(x):\n    {work}\n    return 1\n", f"expect_equal(f({given}), 1, 'one')") == ""


ADDS = "    x.append(1)\n"


@pytest.mark.parametrize(
    ("answer", "call", "function", "argument"),
    [
        ("def f(*x):\n    x[0].append(1)\n", "f([])", "f", "x"),
        ("def f(**named):\n    named['x'].append(1)\n", "f(x=[])", "f", "named"),
        ("def f(*, x):\n" + ADDS, "f(x=[])", "f", "x"),
        ("def f(x):\n    inner = lambda: x\n    inner().append(1)\n", "f([])", "f", "x"),
        ("f = lambda x: x.append(1)\n", "f([])", "<lambda>", "x"),
        ("class C:\n    def m(self, x):\n" + "    " + ADDS, "C().m([])", "C.m", "x"),
        ("class C:\n    def __init__(self, x):\n" + "    " + ADDS, "C([])", "C.__init__", "x"),
        ("class C:\n    @staticmethod\n    def m(x):\n" + "    " + ADDS, "C.m([])", "C.m", "x"),
        ("class C:\n    def __call__(self, x):\n" + "    " + ADDS, "C()([])", "C.__call__", "x"),
        ("class C:\n    def __getitem__(self, x):\n        x[0].append(1)\n", "C()[[],]", "C.__getitem__", "x"),
        ("@torch.no_grad()\ndef f(x):\n" + ADDS, "f([])", "f", "x"),
        ("from functools import partial\ndef g(n, x):\n" + ADDS + "f = partial(g, 1)\n", "f([])", "g", "x"),
        ("def f():\n    def g(x):\n    " + ADDS + "    return g\n", "f()([])", "f.<locals>.g", "x"),
        ("def f(x):\n    x.append(1)\n    f([1, *x]) if len(x) < 3 else None\n", "f([])", "f", "x"),
        ("def f(x):\n" + ADDS + "    raise ValueError\n", "expect_raises(ValueError, lambda: f([]), 'it')", "f", "x"),
        ("def f(x):\n" + ADDS, "list(map(f, [[]]))", "f", "x"),
    ],
)
def test_however_it_is_called(answer, call, function, argument):
    assert f"  {function}() changes its argument `{argument}`" in told(answer, call).splitlines()


def test_what_functions_do_among_themselves_is_their_own():
    answer = "def fill(x):\n    x.append(1)\n\ndef f(n):\n    mine = []\n    fill(mine)\n"
    answer += "    sorted([mine], key=fill)\n    return mine\n"
    assert told(answer, "expect_equal(f(1), [1, 1], 'a list')") == ""


def test_what_the_test_changes_itself_is_its_own():
    body = "x = [1]\ndef ask(y):\n    y.append(2)\n    return f(y)\nexpect_equal(ask(x), 2, 'length')"
    assert told("def f(x):\n    return len(x)\n", body) == ""


def test_a_generator_runs_when_it_is_asked_and_not_when_it_is_called():
    body = "x = [1]\ng = f(x)\nx.append(2)\nexpect_equal(list(g), [2], 'length')"
    assert told("def f(x):\n    yield len(x)\n", body) == ""


def test_each_change_is_told_once_and_nothing_that_may_come_from_it():
    answer = "def f(x, y):\n    x.append(1)\n    y.append(1)\n    return 2\n"
    message = told(answer, "f([], [])\nf([], [])\nexpect_equal(f([], []), 1, 'one')")
    assert [line for line in message.splitlines() if "changes" in line] == [
        "  f() changes its argument `x`",
        "  f() changes its argument `y`",
    ]
    assert "expected: 1" not in message


def test_an_answer_that_raises_is_told_both():
    message = told("def f(x):\n    x.append(1)\n    return x['a']\n", "f([])")
    assert message.startswith("✗ t: your code raised TypeError")
    assert "f() changes its argument `x`" in message


def test_a_message_has_an_end():
    answer = "".join(f"def f{n}(x):\n    x.append(1)\n" for n in range(20))
    message = told(answer, "\n".join(f"f{n}([])" for n in range(20)))
    assert message.count("changes its argument") == MOST


def test_a_kernel_that_makes_millions_of_calls_is_watched_at_its_beginning_and_its_end(monkeypatch):
    monkeypatch.setattr("fridge.testing.changed.MOST_CALLS", 50)
    answer = "def f(x):\n    for n in range(100):\n        (lambda: n)()\n    x.append(1)\n"
    assert "f() changes its argument `x`" in told(answer, "f([])")


def test_the_next_exercise_starts_anew():
    assert told("def f(x):\n    x.append(1)\n    return 1\n", "expect_equal(f([]), 1, 'one')")
    assert told("def f(x):\n    return 1\n", "expect_equal(f([]), 1, 'one')") == ""


def test_somebody_elses_profiler_stays():
    seen = []
    sys.setprofile(lambda frame, event, argument: seen.append(event))
    try:
        assert told("def f(x):\n    return 1\n", "expect_equal(f([]), 1, 'one')") == ""
        assert sys.getprofile() is not None
    finally:
        sys.setprofile(None)
    assert seen
    assert told("def f(x):\n    return 1\n", "expect_equal(f([]), 1, 'one')") == ""
    assert sys.getprofile() is None
