"""A learner's code that raises is told at which case, in the test's own words, and nothing else of a hidden test."""

import pytest
from IPython.core.interactiveshell import InteractiveShell

from fridge.testing import Wrong

HEAD = "from fridge.testing import exercise, expect_equal, expect_parts, expect_raises\nwith exercise('t'):\n"
OWN = "def agrees(got, expected, what):\n    expect_equal(got, expected, what)\n"


def told(body: str, answer: str = "def f(x):\n    return x['a']\n") -> str:
    """The message for a test's body."""
    shell = InteractiveShell.instance()
    shell.run_cell(answer)
    result = shell.run_cell(HEAD + "".join(f"    {line}\n" for line in body.splitlines()))
    assert isinstance(result.error_in_exec, Wrong)
    return str(result.error_in_exec)


@pytest.mark.parametrize(
    ("body", "case"),
    [
        ("expect_equal(f({}), 1, 'no key')", "no key"),
        ("expect_equal(f({'a': 1}), 1, 'a key')\nexpect_equal(f({}), 1, 'no key')", "no key"),
        ("expect_equal(\n    f(\n        {}\n    ),\n    1,\n    'over lines',\n)", "over lines"),
        ("expect_equal(f({}), 1, what='by name', cause='a cause')", "by name"),
        ("got = f({})\nmore = 1\nexpect_equal(got, more, 'asked below')", "asked below"),
        ("got = f({})\nif got:\n    expect_equal(got, 1, 'asked within')", "asked within"),
        ("for n in (1, 2):\n    expect_equal(f({'a': 1} if n == 1 else {}), 1, f'n = {n}')", "n = 2"),
        ("def ask(x, what):\n    expect_equal(f(x), 1, f'{what}!')\nask({}, 'in a function')", "in a function!"),
        (f"{OWN}agrees(f({{}}), 1, 'its own')\nexpect_equal(1, 1, 'another')", "its own"),
        (f"{OWN}agrees(f({{'a': 1}}), 1, 'a key')\nfor n in (1, 2):\n    agrees(f({{}}), 1, f'n = {{n}}')", "n = 1"),
        (f"{OWN}def ask(x, what):\n    agrees(f(x), 1, f'{{what}}!')\nask({{}}, 'further in')", "further in!"),
        ("a, b = expect_parts(f({}), 'a, b', 'two parts')", "two parts"),
        ("expect_raises(ValueError, lambda: f(1)['b'], 'raised within')\nf({})", ""),
        ("a, b = expect_parts(f({}), 'a, b', 'what f returns')\nexpect_equal(a, 1, 'no key')", "no key"),
        ("a, b = expect_parts(f({}), 'a, b', 'what f returns')", "what f returns"),
    ],
)  # fmt: skip
def test_the_case_is_named(body, case):
    """Guards against "your code raised …" with no word on what was asked."""
    message = told(body)
    if case:
        assert message.splitlines()[1] == f"  in the case: {case}"
    assert message.startswith("✗ t: ")


@pytest.mark.parametrize(
    "body",
    [
        "f({})",
        "expect_equal(1, 1, 'before')\nf({})",
        "expect_equal(f({}), 1, f'{f}')",
        "expect_equal(f({}), 1, f'{len(str(1))}')",
        "what = [1]\nexpect_equal(f({}), 1, f'{what}')",
    ],
)
def test_a_case_that_is_not_in_plain_words_is_left_out(body):
    """Guards against an object of the learner's that is asked for its words, and a case that isn't the one at hand."""
    assert "in the case" not in told(body)


def test_a_learners_own_function_names_no_case():
    """Guards against words of an answer in the place of the test's."""
    answer = "def f(x):\n    return x['a']\ndef g(y, what):\n    return y\n"
    assert "in the case" not in told("g(f({}), 'mine')", answer)


def test_nothing_else_of_the_test_is_said():
    assert "secret" not in told("secret = {}\nexpect_equal(f(secret), 1, 'no key')")
