"""Expectations: compare what the learner's code returned with what was expected, and explain a difference.

Values are brought to a plain form first (float64 tensors, Python numbers, lists), so that neither the learner's dtype
nor an object with an `__eq__` of its own decides. Types are asked for with `type()`, which an object can't redefine,
and tensors are read with `Tensor`'s own functions, which a subclass or an attribute of the object can't replace.
"""

import math
from collections.abc import Callable
from fractions import Fraction
from itertools import accumulate
from operator import mul
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fridge.testing.outcome import STUB_MESSAGE, Outcome, Wrong, name_of, words_of
from fridge.workbench import arguments

RETURN = "None (is a `return` missing?)"
LONG, MANY = 200, 8  # characters and tensor elements that a message shows; beyond, it shows a part or the shape
LARGEST = 2**1000  # of whole numbers; beyond, float has none
LARGE = 2**20  # elements of a tensor that is taken apart, and lists; an empty one of [2**26, 0] is as many


def expect_close(got: Any, expected: Tensor, what: str, cause: str = "", atol: float = 1e-5) -> None:
    """Every element of `got` is within `atol` of `expected`, compared in float64.

    Raises:
        Wrong: another shape, no tensor, NaN, or too far off; with the worst element's place.
    """
    own = arguments.number(got)
    if not expected.dim() and (type(own) in (int, float, Fraction) or issubclass(type(own), np.integer | np.floating)):
        number = math.inf if type(own) in (int, Fraction) and abs(own) >= LARGEST else float(own)
        got = torch.tensor(number, dtype=torch.float64)  # a number is a number, in a tensor or not
    if not is_real_tensor(got):
        raise wrong(what, _kind(expected), got, cause)
    if got.shape != expected.shape:
        raise wrong(what, _kind(expected), got if not Tensor.dim(got) else InWords(_kind(got)), cause)
    mine, reference = on_cpu(got).double(), on_cpu(expected).double()
    difference = torch.where(mine == reference, 0.0, (mine - reference).abs()).nan_to_num(nan=torch.inf)
    if difference.numel() and float(difference.max()) > atol:
        place = torch.unravel_index(difference.argmax(), difference.shape)
        index = tuple(int(i) for i in place)
        at, others = "", ""
        if index:  # a single number has no place
            at = f" at [{', '.join(map(str, index))}]"
            others = f"; {int((difference > atol).sum())} of {difference.numel()} elements differ"
        wanted = f"{float(reference[index]):.6g}{at} (tolerance {atol:g})"
        raise wrong(what, wanted, InWords(f"{float(mine[index]):.6g}{others}"), cause)


def expect_equal(got: Any, expected: Any, what: str, cause: str = "") -> None:
    """`got` is `expected`: numbers by value, sequences element by element whether list, tuple or tensor.

    Raises:
        Wrong: it isn't.
    """
    mine, reference = _plain(got), _plain(expected)
    if not _same(mine, reference):
        place = _first_difference(mine, reference)
        words = describe(reference), describe(mine)
        if place and (words[0] == words[1] or max(map(len, words)) > LONG):  # the place says more than the whole
            raise wrong(f"{what}, at {place[0]}", describe(place[1]), InWords(describe(place[2])), cause)
        raise wrong(what, words[0], mine, cause)


def expect_true(condition: bool, what: str, expected: str, got: Any, cause: str = "") -> None:
    """A condition that fits no other expectation: Python's True, not something that is merely true (a tensor).

    Raises:
        Wrong: it isn't, in the words given.
    """
    if condition is not True:
        raise wrong(what, expected, got, cause)


def expect_raises(error: type[Exception], call: Callable[[], Any], what: str, cause: str = "") -> None:
    """`call()` raises `error`.

    Raises:
        Wrong: it returns, or raises something else.
        NotImplementedError: the exercise is untouched.
    """
    try:
        returned = call()
    except Outcome:  # of a ScriptedModel, say; it must not pass for an AssertionError
        raise
    except Exception as raised:
        if isinstance(raised, NotImplementedError) and words_of(raised) == STUB_MESSAGE:
            raise  # must not pass for a RuntimeError, which it also is
        if isinstance(raised, error):
            return
        raise wrong(what, error.__name__, InWords(f"{name_of(raised)}: {words_of(raised)}"), cause) from None
    raise wrong(what, error.__name__, InWords(f"no error; it returned {describe(returned)}"), cause)


class InWords(str):
    """What was got, as a message says it; not a value that is to be described."""


def wrong(what: str, expected: object, got: Any, cause: str = "") -> Wrong:
    """The message of an expectation that failed. A value is due: where there is None, the cause is a missing `return`.

    Args:
        what: the case, in words; none of them the learner's.
        expected: in words.
        got: the value, or `InWords`.
        cause: what most likely went wrong.
    """
    words = str(got) if type(got) is InWords else describe(got)
    if got is None:
        words, cause = RETURN, ""  # a cause that is about something else would mislead
    words = words.replace("\n", "\n" + " " * 12)  # an exception's second line must not pass for one of the verdict's
    lines = [f"  {what}", f"  expected: {expected}", f"  got:      {words}"]
    told = [f"likely cause: {cause}"] if cause else []
    return Wrong("\n".join([*lines, *(f"  {line}" for line in told)]), " — ".join([what, *told]))


def is_real_tensor(value: Any) -> bool:
    """Whether it is a tensor whose values can be compared: no subclass, and nothing that says so of itself."""
    return arguments.has_values(value) and not Tensor.is_complex(value)  # .double() would drop an imaginary part


def is_large(value: Tensor | np.ndarray) -> bool:
    """Whether a tensor or array is too large to be made a list of."""
    *lists, elements = accumulate((max(side, 1) for side in value.shape), mul, initial=1)
    return elements > LARGE or sum(lists) > LARGE  # sides of 1: each is a list more around every element


def on_cpu(value: Tensor) -> Tensor:
    """Its values in another tensor, without the attributes that the first may have."""
    return Tensor.cpu(Tensor.detach(value))


def _plain(value: Any) -> Any:
    kind = type(value)
    if (is_real_tensor(value) or issubclass(kind, np.ndarray)) and is_large(value):
        return value
    if is_real_tensor(value):
        return on_cpu(value).tolist()
    if issubclass(kind, dict):
        return {key: _plain(item) for key, item in dict.items(value)}
    if issubclass(kind, list | tuple):
        return [_plain(item) for item in value]
    if issubclass(kind, np.ndarray | np.generic):
        own = value.tolist()
        return arguments.number(value) if type(own) is kind else _plain(own)  # np.longdouble's is one again
    return arguments.number(value)


def _same(got: Any, expected: Any) -> bool:
    # Exact types only: a subclass could bring an __eq__ of its own.
    if type(expected) is list:
        return type(got) is list and len(got) == len(expected) and all(map(_same, got, expected))
    if type(expected) is dict:
        return (
            type(got) is dict
            and len(got) == len(expected)
            and {type(key) for key in got} <= {type(key) for key in expected}
            and all(key in got and _same(got[key], value) for key, value in expected.items())
        )
    if type(expected) in (int, float):
        return type(got) in (int, float, Fraction) and got == expected
    return type(got) is type(expected) and got == expected


def _first_difference(got: Any, expected: Any, place: str = "") -> tuple[str, Any, Any] | None:
    """Index, expected element and got element where two lists of the same form differ first; None if the form does."""
    if not (type(got) is type(expected) is list and len(got) == len(expected)):
        return (place, expected, got) if place else None
    for index, (mine, reference) in enumerate(zip(got, expected, strict=True)):
        if not _same(mine, reference):
            return _first_difference(mine, reference, f"{place}[{index}]")
    return None


def describe(value: Any) -> str:
    """A value of the learner's in a line, whatever it is."""
    if is_real_tensor(value):
        return _kind(value) if Tensor.numel(value) > MANY else str(_plain(value))
    value = _builtin(value)
    if type(value) in (type(None), bool, int, float, Fraction, str, bytes, list, tuple, dict):
        return arguments.in_short(value, LONG)
    return f"an object of type {arguments.kind_of(value)}"


def _builtin(value: Any) -> Any:
    # What a class of one's own is made from, as grading's wire sends it.
    kind = type(value)
    if issubclass(kind, list):
        return list(list.__iter__(value))
    if issubclass(kind, tuple):
        return tuple(tuple.__iter__(value))
    if issubclass(kind, dict):
        return dict(dict.items(value))
    if issubclass(kind, np.generic) or (issubclass(kind, np.ndarray) and not is_large(value)):
        own = value.tolist()
        return arguments.number(value) if type(own) is kind else _builtin(own)  # np.longdouble's is one again
    return arguments.number(value)


def _kind(value: Tensor) -> str:
    return f"a tensor of shape {list(value.shape)}" if Tensor.dim(value) else "a number"
