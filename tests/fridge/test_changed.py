"""What a learner's function is given stays as it was: a change is told, whatever else is right or wrong."""

import cProfile
import sys
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell

from fridge.testing import Wrong, allocated, outcome
from fridge.testing.changed import LONGEST_NAME, MOST, is_name

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


@pytest.mark.parametrize(
    ("answer", "call"),
    [
        # `**named` is a dict of the call's own.
        ("def f(**named):\n    return named.pop('x')\n", "f(x=1)"),
        ("def f(x, **named):\n    named.setdefault('y', 1)\n    return named['y']\n", "f([])"),
        (
            "class f(torch.nn.Module):\n    def forward(self, x, **named):\n        named['y'] = 1\n        return 1\n",
            "f()([])",
        ),
        # What a function keeps of its own, nobody gave it.
        ("def f(x, memo={}):\n    return memo.setdefault(x, 1)\n", "f(2)"),
        ("def f(x, *, memo=[]):\n    memo.append(x)\n    return 1\n", "f(2)"),
        ("class C:\n    def m(self, x, memo={}):\n        return memo.setdefault(x, 1)\n", "C().m(2)"),
        (
            "from functools import partial\ndef g(mine, x):\n    mine.append(x)\n    return 1\nf = partial(g, [])\n",
            "f(2)",
        ),
        (
            "from functools import partial\ndef g(x, mine):\n    mine.mul_(2)\n    return 1\n"
            "f = partial(g, mine=torch.ones(2))\n",
            "f(2)",
        ),
        # What a library made to be filled isn't the test's.
        (
            "class M(torch.nn.Module):\n    def _load_from_state_dict(self, s, p, m, strict, missing, *more):\n"
            "        missing.append('x')\ndef f(x):\n    return 1\n",
            "len(M().load_state_dict({}, strict=False).missing_keys)",
        ),
        # What can't be compared or copied raises nothing that the answer didn't.
        ("f = torch.vmap(lambda x: x * 1)\n", "float(f(torch.ones(1))[0])"),
        ("def f(x):\n    return 1\n", "f(torch.ones(2).to(torch.complex32))"),
        ("def f(x):\n    return 1\n", "f(torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]))"),
    ],
)
def test_what_is_a_functions_own_is_nobodys_argument(answer, call):
    """Guards against right answers that lose their points for a memo, for `**named` or for what torch makes of x."""
    assert told(answer, f"expect_equal({call}, 1, 'one')\nexpect_equal({call}, 1, 'once more')") == ""


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
        ("def f(x=[]):\n" + ADDS, "f([])", "f", "x"),
        ("class f(torch.nn.Module):\n    def forward(self, x):\n    " + ADDS, "f()([])", "f.forward", "x"),
        ("@torch.no_grad()\ndef f(*x, **n):\n    n['y'][0].append(1)\n", "f(y=([],))", "f", "n"),
        ("@torch.compile(backend='eager')\ndef f(x):\n    x.add_(1)\n", "f(torch.ones(1))", "f", "x"),
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
    monkeypatch.setattr("fridge.testing.changed.MOST_EVENTS", 50)
    answer = "def f(x):\n    for n in range(100):\n        (lambda: n)()\n    x.append(1)\n"
    assert "f() changes its argument `x`" in told(answer, "f([])")


def test_a_loop_of_many_built_in_functions_is_not_held_up(monkeypatch):
    """Guards against an answer that is late because it is watched: the hook goes, and comes with the next exercise."""
    monkeypatch.setattr("fridge.testing.changed.MOST_EVENTS", 50)
    answer = "import sys\ndef f(x):\n    for n in range(100):\n        len(x)\n    return sys.getprofile()\n"
    assert told(answer, "expect_equal(f([]), None, 'hook')") == ""


def test_many_short_calls_are_all_watched(monkeypatch):
    """Guards against ✓ in a notebook, where all calls of an exercise were counted together, and ✗ in grading."""
    monkeypatch.setattr("fridge.testing.changed.MOST_EVENTS", 100)
    answer = "def f(x, n):\n    x.append(1) if n == 99 else None\n    return 1\n"
    assert "f() changes" in told(answer, "for n in range(100):\n    expect_equal(f([], n), 1, 'one')")


def test_a_long_list_is_watched_in_little_time():
    """Guards against an answer that is late because the text that it is given is copied token by token."""
    answer = "def f(x):\n    return len(x)\n"
    body = "import time\nx = list(range(10 ** 5))\nbegan = time.process_time()\n"
    body += "for _ in range(40):\n    expect_equal(f(x), 10 ** 5, 'length')\n"
    assert told(answer, body + "assert time.process_time() - began < 1.5") == ""


def test_a_module_next_to_the_library_is_the_learners():
    folder = Path(outcome.__file__).parents[1]
    assert f"{folder / 'model.py'}".startswith(outcome.LIBRARIES)
    assert not f"{folder}_notes.py".startswith(outcome.LIBRARIES)


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


def test_a_profiler_in_c_stays():
    """Guards against a call of what it shows: cProfile's own object is no function."""
    profile = cProfile.Profile()
    profile.enable()
    try:
        assert told("def f(x):\n    return 1\n", "expect_equal(f([]), 1, 'one')") == ""
    finally:
        profile.disable()
    assert profile.getstats()


@pytest.mark.parametrize("name", ["संख्या", "数", "x" * 300])
def test_names_are_told_as_they_can_be(name):
    message = told(f"def f({name}):\n    {name}.append(1)\n", "f([])")
    assert f"f() changes its argument `{name[:LONGEST_NAME]}`" in message


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("f.<locals>.<lambda>", True),
        ("संख्या", True),
        ("", False),
        ("a b", False),
        ("f.", False),
        ("a`\n", False),
        ("<b onclick>", False),
        ("\u202ef", False),
        ("f" * 201, False),
    ],
)
def test_what_is_a_name(name, is_one):
    assert is_name(name) is is_one


def test_a_long_text_is_not_cut_into_names():
    """Guards against the memory of millions of parts of what is too long anyway."""
    is_one, size = allocated(is_name, "." * 10**6)
    assert not is_one
    assert size < 100_000
