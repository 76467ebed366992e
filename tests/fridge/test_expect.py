"""Expectations: what they accept however it is written, and what can't fool them."""

import math
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fridge.testing import (
    NotAttempted,
    Wrong,
    as_tensor,
    exercise,
    expect_close,
    expect_equal,
    expect_number,
    expect_raises,
    expect_true,
    token_ids,
)
from fridge.testing.outcome import STUB_MESSAGE

VALUES = torch.tensor([[0.5, -1.0], [2.0, 0.0]])


class AlwaysEqual:
    """Equal to everything, and callable as whatever is asked of it."""

    def __eq__(self, other: object) -> Any:
        return True

    def __ne__(self, other: object) -> Any:
        return False

    __hash__ = object.__hash__


class EqualInt(AlwaysEqual, int):
    __hash__ = int.__hash__


class EqualFloat(AlwaysEqual, float):
    __hash__ = float.__hash__


class EqualStr(AlwaysEqual, str):
    __hash__ = str.__hash__


class EqualList(AlwaysEqual, list):
    pass


class EqualDict(AlwaysEqual, dict):
    pass


class EqualArray(AlwaysEqual, np.ndarray):
    pass


class Pretender(AlwaysEqual):
    """Says that it is a tensor; `isinstance` believes it."""

    shape = VALUES.shape

    @property
    def __class__(self) -> type:
        return Tensor

    def __getattr__(self, name: str) -> Any:
        return lambda *args: self

    def tolist(self) -> list[list[float]]:
        return VALUES.tolist()


class Evil(Tensor):
    """A tensor of zeros whose every comparison, difference and conversion comes out as the test wishes."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in ("__eq__", "eq"):
            return torch.ones(2, 2, dtype=torch.bool)
        if name in ("sub", "__sub__", "rsub", "__rsub__", "abs"):
            return torch.zeros(2, 2)
        return super().__torch_function__(func, types, args, kwargs or {})

    def detach(self) -> Any:
        return self

    def cpu(self) -> Any:
        return self

    def double(self) -> Any:
        return self

    def tolist(self) -> Any:
        return VALUES.tolist()


def with_own_methods() -> Tensor:
    """A plain tensor of zeros with attributes in the way of its methods."""
    value = torch.zeros(2, 2)
    for name in ("detach", "cpu", "double"):
        setattr(value, name, lambda: VALUES.clone())
    value.tolist = VALUES.tolist
    return value


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_close_whatever_the_type(dtype: torch.dtype) -> None:
    """Guards against losing points for computing in another precision: these values are exact in all of them."""
    expect_close(VALUES.to(dtype), VALUES, "values")
    expect_close(VALUES, VALUES.to(dtype), "values")
    expect_close(torch.nn.Parameter(VALUES.to(dtype)), VALUES, "values")


def test_close_to_the_tolerance() -> None:
    """Guards against a comparison in float32, or in the learner's bfloat16, that rounds the difference away."""
    expected = torch.tensor([1000.0], dtype=torch.float64)  # float32 has steps of 6e-5 here
    expect_close(expected + 0.9e-5, expected, "values")
    with pytest.raises(Wrong):
        expect_close(expected + 1.1e-5, expected, "values")
    third = torch.full((4,), 1 / 3)
    expect_close(third.bfloat16(), third, "values", atol=1e-2)
    with pytest.raises(Wrong):
        expect_close(third.bfloat16(), third, "values")


def test_close_layouts_that_are_the_same() -> None:
    """Guards against rejecting transposed, expanded, empty and zero-dimensional results."""
    expect_close(VALUES.T.contiguous().T, VALUES, "values")
    expect_close(torch.zeros(1).expand(3), torch.zeros(3), "values")
    expect_close(torch.zeros(0, 4), torch.zeros(0, 4), "values")
    expect_close(torch.tensor(1), torch.tensor(1.0), "values")


def test_close_and_infinity() -> None:
    """Guards against inf - inf = NaN, which a mask of -inf meets, and against inf that equals -inf."""
    masked = torch.tensor([0.0, -math.inf])
    expect_close(masked.clone(), masked, "mask")
    for other in (torch.tensor([0.0, math.inf]), torch.tensor([0.0, -1e30]), torch.tensor([0.0, math.nan])):
        with pytest.raises(Wrong):
            expect_close(other, masked, "mask")
    with pytest.raises(Wrong):
        expect_close(torch.zeros(2), masked, "mask")


@pytest.mark.parametrize(
    "got",
    [
        pytest.param(None, id="None"),
        pytest.param(VALUES.tolist(), id="list"),
        pytest.param(VALUES.numpy(), id="numpy"),
        pytest.param(VALUES[:1], id="fewer rows"),
        pytest.param(VALUES[None], id="one dimension more"),
        pytest.param(VALUES.flatten(), id="flat"),
        pytest.param(VALUES + torch.tensor([[0, 0], [0, math.nan]]), id="NaN"),
        pytest.param(torch.full((2, 2), math.nan), id="all NaN"),
        pytest.param(VALUES + 1j, id="complex"),
        pytest.param(VALUES.to_sparse(), id="sparse"),
        pytest.param(VALUES.to("meta"), id="no values"),
        pytest.param(AlwaysEqual(), id="always equal"),
        pytest.param(Pretender(), id="pretends to be a tensor"),
        pytest.param(torch.zeros(2, 2).as_subclass(Evil), id="subclass"),
        pytest.param(with_own_methods(), id="own methods"),
    ],
)
def test_close_rejects(got: Any) -> None:
    """Guards against a wrong answer, or one made to deceive, that passes, and against another error than Wrong."""
    with pytest.raises(Wrong, match=r"(?s)values.*expected: .*got: .*(likely cause: a|is a `return` missing)"):
        expect_close(got, VALUES, "values", cause="a slip")


def test_close_says_where() -> None:
    """Guards against a message without the place and the two numbers."""
    got = VALUES.clone()
    got[1, 0] = 2.5
    with pytest.raises(Wrong) as caught:
        expect_close(got, VALUES, "the attention's output", "the mask starts at the wrong key")
    assert str(caught.value).splitlines() == [
        "  the attention's output",
        "  expected: 2 at [1, 0] (tolerance 1e-05)",
        "  got:      2.5; 1 of 4 elements differ",
        "  likely cause: the mask starts at the wrong key",
    ]


Pair = namedtuple("Pair", "first second")


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        ([1, 2], [1, 2]),
        ((1, 2), [1, 2]),
        (Pair(1, 2), [1, 2]),
        (torch.tensor([1, 2]), [1, 2]),
        (np.array([1, 2]), [1, 2]),
        ([torch.tensor(1), np.int64(2)], [1, 2]),
        ([1, 2], torch.tensor([1, 2])),
        ([[1, 2], (3,)], [(1, 2), [3]]),
        (torch.zeros(2, 3).shape, [2, 3]),
        (torch.tensor(5), 5),
        (np.float32(0.5), 0.5),
        (5.0, 5),
        (True, True),
        (torch.tensor(True), True),
        (np.bool_(True), True),
        ("stop", "stop"),
        (None, None),
        ([], []),
        ({"a": (1, 2)}, {"a": [1, 2]}),
        (torch.float16, torch.float16),
        (524288, 512 * 1024),
    ],
    ids=repr,
)
def test_equal_whatever_the_form(got: Any, expected: Any) -> None:
    """Guards against losing points for a tuple in the place of a list, or for not calling .item()."""
    expect_equal(got, expected, "value")


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        (511, 512),
        (512.0001, 512),
        (True, 1),
        (1, True),
        ([True], [1]),
        ("1", 1),
        (None, 0),
        (math.nan, 0.0),
        ([1, 2, 3], [1, 2]),
        ([1, 2], [2, 1]),
        ([1, 2], 1),
        (1, [1]),
        ([[1], [2]], [1, 2]),
        ([], None),
        ({1, 2}, [1, 2]),
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {"b": 1}),
        ({"a": 1, "b": 1}, {"a": 1}),
        (EqualInt(3), 4),
        (EqualFloat(3), 4.0),
        (EqualStr("a"), "b"),
        (EqualList([1, 3]), [1, 2]),
        (EqualList(), [1]),
        ([EqualInt(1), 3], [1, 2]),
        (EqualDict(a=1), {"a": 2}),
        ({"a": AlwaysEqual()}, {"a": 2}),
        ({EqualStr("a"): 2}, {"a": 2}),
        (np.zeros(2).view(EqualArray), [1.0, 2.0]),
        (np.array([AlwaysEqual(), AlwaysEqual()]), [1, 2]),
        (AlwaysEqual(), 4),
        (AlwaysEqual(), None),
        (AlwaysEqual(), [1, 2]),
        (Pretender(), VALUES),
        (torch.zeros(2, 2).as_subclass(Evil), VALUES),
        (with_own_methods(), VALUES),
        (VALUES.to("meta"), VALUES),
        (torch.float32, torch.float16),
    ],
    ids=lambda value: f"{type(value).__name__}",
)
def test_equal_rejects(got: Any, expected: Any) -> None:
    """Guards against off-by-ones, True for 1, and objects whose own `__eq__` decides."""
    with pytest.raises(Wrong, match=r"(?s)value.*expected: .*got: "):
        expect_equal(got, expected, "value")


def test_equal_says_where_long_lists_differ() -> None:
    """Guards against two messages that are cut off before the difference, and so read the same."""
    expected = list(range(1000))
    got = [*expected[:700], 7, *expected[701:]]
    for form in (list, torch.tensor):
        with pytest.raises(Wrong, match=r"tokens, at \[700\]\n  expected: 700\n  got:      7$"):
            expect_equal(form(got), form(expected), "tokens")
    with pytest.raises(Wrong, match=r"tables, at \[1\]\[2\]\n"):
        expect_equal([expected, [1, 2, 3]], [expected, [1, 2, 4]], "tables")


def said(call: Callable[[], Any]) -> list[str]:
    """What a failed expectation says, line by line, without the case."""
    with pytest.raises(Wrong) as caught:
        call()
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


@pytest.mark.parametrize(
    "call",
    [
        lambda: expect_close(None, torch.tensor(140.0), "gigabytes", "a byte has 8 bits"),
        lambda: expect_close(as_tensor(None), torch.tensor(140.0), "gigabytes", "a byte has 8 bits"),
        lambda: expect_close(None, VALUES, "values", "a slip"),
        lambda: expect_equal(None, 4, "value", "off by one"),
        lambda: expect_equal(None, [1, 2], "value", "off by one"),
        lambda: expect_true(False, "value", "a number", None, "a slip"),
        lambda: token_ids(None, "the reply"),
    ],
)
def test_a_missing_return(call: Callable[[], Any]) -> None:
    """Guards against `got: None` with no hint for the most common slip of all, or with a cause that is another's."""
    expected, got = said(call)
    assert expected.startswith("expected: ")
    assert got == "got:      None (is a `return` missing?)"


@pytest.mark.parametrize(
    ("call", "lines"),
    [
        (lambda: expect_equal(4, None, "value", "why"), ["expected: None", "got:      4", "likely cause: why"]),
        (lambda: expect_equal([1, None], [1, 2], "value"), ["expected: [1, 2]", "got:      [1, None]"]),
        (lambda: expect_equal([*range(99), None], range(100), "value"), None),
        (
            lambda: expect_raises(ValueError, lambda: None, "overflow", "check first"),
            ["expected: ValueError", "got:      no error; it returned None", "likely cause: check first"],
        ),
    ],
)
def test_none_where_no_value_is_due(call: Callable[[], Any], lines: list[str] | None) -> None:
    """Guards against "is a return missing?" about what should be None, an element, or a call that should raise."""
    assert "return` missing" not in "".join(said(call))
    assert lines is None or said(call) == lines


@pytest.mark.parametrize(
    ("got", "words"),
    [
        (None, "None (is a `return` missing?)"),
        ("140", "'140'"),
        (True, "True"),
        ([140.0, 1.0], "a tensor of shape [2]"),
        ([140.0, None], "[140.0, None]"),
        ({}, "{}"),
        (math.nan, "nan"),
        (print, "an object of type builtin_function_or_method"),
    ],
)
def test_a_number_is_due(got: Any, words: str) -> None:
    """Guards against "a tensor of shape []", which a learner never heard of, and against "140" or True for a number."""
    expected, shown = said(lambda: expect_close(as_tensor(got), torch.tensor(140.0), "gigabytes"))[:2]
    assert expected in ("expected: a number", "expected: 140 (tolerance 1e-05)")
    assert shown == f"got:      {words}"
    assert "[]" not in expected + shown


def test_a_number_is_a_number() -> None:
    """Guards against points lost for a float in the place of a tensor without dimensions, and the other way around."""
    for got in (2, 2.0, np.float32(2), torch.tensor(2)):
        expect_close(got, torch.tensor(2.0), "value")
    assert said(lambda: expect_close(2.0, VALUES, "v")) == ["expected: a tensor of shape [2, 2]", "got:      2.0"]
    got = said(lambda: expect_close(torch.tensor(2.0), VALUES, "v"))
    assert got == ["expected: a tensor of shape [2, 2]", "got:      2.0"]
    assert said(lambda: expect_close(True, torch.tensor(1.0), "v")) == ["expected: a number", "got:      True"]


def test_true_takes_python_truth_only() -> None:
    """Guards against a condition that is an object of the learner's, and merely true."""
    expect_true(True, "rewound", "an empty cache", 0)
    for condition in (1, torch.tensor(True), [0], AlwaysEqual()):
        with pytest.raises(Wrong, match=r"(?s)rewound.*an empty cache.*got:      3"):
            expect_true(condition, "rewound", "an empty cache", 3)


def stub() -> None:
    raise NotImplementedError(STUB_MESSAGE)


class Size(IntEnum):
    SMALL = 3


class Bytes(float):
    """A float with a class of its own."""


class Codes(list):
    """A list with a class of its own."""


OTHER_NUMBERS = [
    *(Fraction(3), Decimal(3), Size.SMALL, Bytes(3), np.longdouble(3), np.float16(3), np.int8(3)),
    *(torch.tensor(3), np.float64(3)),
]


@pytest.mark.parametrize("got", OTHER_NUMBERS, ids=lambda got: type(got).__name__)
def test_a_number_is_a_number_whatever_its_class(got: Any) -> None:
    """Guards against exact arithmetic that is refused, and np.longdouble, which is taken apart without an end."""
    expect_equal(got, 3, "three")
    expect_equal([got], [3], "a list of it")
    expect_close(got, torch.tensor(3.0), "near three")
    assert expect_number(got, "three") == 3
    assert token_ids([got], "ids") == (3,)
    with pytest.raises(Wrong):
        expect_equal(got, 4, "four")


@pytest.mark.parametrize(
    ("got", "words"),
    [
        (Fraction(1, 3), "Fraction(1, 3)"),
        (Decimal("0.5"), "Fraction(1, 2)"),
        (Decimal("sNaN"), "nan"),
        (Decimal("-1e999999999"), "-inf"),
        (Fraction(10**5000, 3), "inf"),
        (Fraction(1, 10**5000), "0.0"),
        (Size.SMALL, "3"),
        (OrderedDict(a=1), "{'a': 1}"),
        (Codes([1]), "[1]"),
        (namedtuple("Pair", "a b")(1, 2), "[1, 2]"),
        ({1}, "an object of type set"),
    ],
)
def test_other_classes_are_told_as_what_they_are_made_from(got: Any, words: str) -> None:
    """Guards against words that are different in grading, where a class of one's own doesn't come."""
    assert said(lambda: expect_equal(got, "x", "a text"))[1] == f"got:      {words}"


def raise_(error: BaseException) -> None:
    raise error


def test_raises_what_was_asked_for() -> None:
    """Guards against an exact-type comparison, which rejects a learner's own subclass."""
    expect_raises(ValueError, lambda: raise_(ValueError("full")), "overflow")
    expect_raises(ValueError, lambda: raise_(type("CacheFull", (ValueError,), {})("full")), "overflow")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: None, "no error; it returned None"),
        (lambda: 4, "no error; it returned 4"),
        (lambda: raise_(KeyError("k")), "KeyError: 'k'"),
        (lambda: raise_(NotImplementedError("no kernel")), "NotImplementedError: no kernel"),
    ],
)
def test_raises_rejects(call: Any, words: str) -> None:
    """Guards against any exception counting for the one that the docstring names."""
    with pytest.raises(Wrong, match=f"(?s)overflow.*expected: ValueError.*got:      {words}"):
        expect_raises(ValueError, call, "overflow")


@pytest.mark.parametrize("error", [ValueError, RuntimeError, NotImplementedError, Exception])
def test_raises_lets_an_untouched_stub_through(error: type[Exception]) -> None:
    """Guards against the handout earning points: NotImplementedError is a RuntimeError, which tests may ask for."""
    with pytest.raises(NotAttempted), exercise("overflow"):
        expect_raises(error, stub, "overflow")


@pytest.mark.parametrize("error", [AssertionError, Exception])
def test_raises_lets_a_models_complaint_through(error: type[Exception]) -> None:
    """Guards against a ScriptedModel's Wrong, an AssertionError, that passes for the learner's own."""
    with pytest.raises(Wrong, match="fed again"):
        expect_raises(error, lambda: raise_(Wrong("fed again")), "overflow")


def test_a_single_number_is_told_without_a_place() -> None:
    """Guards against "140 at the only element; 1 of 1 elements differ", the first wrong answer that a learner sees."""
    with pytest.raises(Wrong) as caught:
        expect_close(torch.tensor(1120.0), torch.tensor(140.0), "gigabytes")
    assert str(caught.value).splitlines()[1:] == ["  expected: 140 (tolerance 1e-05)", "  got:      1120"]
