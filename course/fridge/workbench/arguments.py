"""Arguments as plain values, for objects that count work: what can't be taken for a number or a list of them isn't."""

import math
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from itertools import islice, takewhile
from typing import Any

import numpy as np
import torch
from torch import Tensor

LONGEST = 400  # digits of a decimal: more than float's range
EXACT = 2**1024  # parts of a fraction that is taken exactly: float's range
HUGE = 2**62  # beyond any size or place, and not too long for a message
DEEPEST = 8  # containers in containers that words show
FEW = 8  # elements of a tensor in a container that words show
MOST = 2**20  # elements of a list: more than any pool has slots
_TENSORS = (Tensor, torch.nn.Parameter)  # no other subclasses, which may redefine what they hold
_NO_LISTS = (str, bytes, bytearray, memoryview, Mapping)


def number(value: Any) -> Any:
    """A number of another class as int, float or Fraction: a decimal, a member of an IntEnum. Other values stay."""
    kind = type(value)
    if kind is Decimal:
        if not value.is_finite() or abs(value.adjusted()) > LONGEST:
            return math.nan if value.is_nan() else float(value)
        value, kind = Fraction(value), Fraction
    if kind is Fraction:
        return _simple(value)
    if issubclass(kind, int) and kind is not bool:
        return int.__index__(value)
    if issubclass(kind, float):
        return float.__float__(value)
    return float(value) if kind is np.longdouble else value  # whose own .item() is one again


def _simple(value: Fraction) -> int | float | Fraction:
    top, bottom = value.as_integer_ratio()
    if bottom == 1:
        return top
    if max(abs(top), bottom) < EXACT:
        return value
    try:
        return float(value)
    except OverflowError:
        return math.inf if top > 0 else -math.inf


def whole(value: Any) -> int | None:
    """The whole number that a value is: a number without a fraction, Python's or NumPy's, or a tensor of none or one.

    None for anything else: truth values, NaN, texts, lists, numbers that no memory has, and objects that could say one
    thing now and another later.
    """
    if type(value) in _TENSORS:
        own = tensor(value)
        if own is None or own.dim():
            return None
        value = own.item()
    elif isinstance(value, np.generic) and type(value).__module__ == "numpy":
        value = value.item()
    value = number(value)
    if type(value) is float and value.is_integer():
        value = int(value)
    return value if type(value) is int and abs(value) < HUGE else None


def wholes(values: Any) -> list[int] | None:
    """The whole numbers in a list, a tuple, a range, a set, a tensor or array of one dimension, or an iterator.

    None for anything else, for one element that is no whole number, and for more than `MOST`.
    """
    if type(values) in _TENSORS:
        own = tensor(values)
        if own is None or own.dim() != 1:
            return None
        values = own[: MOST + 1].tolist()
    elif type(values) is np.ndarray:
        values = values[: MOST + 1].tolist() if values.ndim == 1 else None
    elif isinstance(values, (Tensor, np.ndarray, *_NO_LISTS)) or kind_of(values) == dict.__name__:
        return None
    try:
        numbers = [whole(value) for value in islice(values, MOST + 1)]
    except TypeError:
        return None
    return None if None in numbers or len(numbers) > MOST else numbers


def tensor(value: Any) -> Tensor | None:
    """A tensor's values in another tensor, without the attributes that the first may have; None for anything else."""
    if not has_values(value):
        return None
    own = Tensor.detach(value)  # without attributes in the way of its methods
    return None if own.is_complex() else own


def has_values(value: Any) -> bool:
    """Whether it is a tensor, of no class of its own, each of whose elements can be read where it stands."""
    return (
        type(value) in _TENSORS
        and value.layout == torch.strided
        and not (value.is_meta or value.is_quantized or value.is_nested)
    )


def said(value: Any) -> str:
    """A value in a few words, for a message that refuses it."""
    if has_values(value):
        return f"a tensor of shape {list(value.shape)}, {value.dtype}"
    if type(value) in (type(None), bool, int, float, str, bytes, list, tuple, dict, range, slice):
        return in_short(value, 100)
    return f"an object of type {kind_of(value)[:100]}"


def in_short(value: Any, longest: int) -> str:
    """A plain value's `repr`, cut to so many characters; of other objects in it, the names of their types.

    What those say of themselves may be anything, or an error; of a test's own it would be more than it shows. Nothing
    is written out that won't be shown: a tensor's `repr` has all elements where its sides are short.
    """
    try:
        words = repr(_without_objects(value, longest, [longest]))
    except ValueError:  # an int of 10,000 digits
        return f"a very large {type(value).__name__}"
    return words if len(words) <= longest else words[:longest] + " …"


class _Bare(str):
    """Words that stand for an object, without quotes."""

    def __repr__(self) -> str:
        return str(self)


def _without_objects(value: Any, most: int, room: list[int], deep: int = 0) -> Any:
    # `room` counts the values that may still be written, in all containers together; a string has `most` letters.
    if isinstance(value, np.generic) or (type(value) is np.ndarray and value.size <= most):
        value = value.tolist()
    value = number(value)
    kind = type(value)
    if kind in (type(None), bool, int, float, Fraction, torch.dtype):
        return value
    if kind in (str, bytes):
        return value[: most + 1]
    if has_values(value):
        return value if Tensor.numel(value) <= FEW and Tensor.dim(value) <= FEW else _Bare(f"<{said(value)}>")
    if kind is range and not deep:  # within others it is an object, as it is where it stays in another process
        return value
    if issubclass(kind, list | tuple | dict) and deep > DEEPEST:
        return _Bare("…")

    def part(item: Any) -> Any:
        room[0] -= 1
        return _without_objects(item, most, room, deep + 1)

    def parts(items: Iterable[Any]) -> Iterator[Any]:
        return (part(item) for item in takewhile(lambda _: room[0] > 0, items))

    if issubclass(kind, list):
        return list(parts(list.__iter__(value)))
    if issubclass(kind, tuple):
        return tuple(parts(tuple.__iter__(value)))
    if issubclass(kind, dict):
        return {part(key): part(own) for key, own in takewhile(lambda _: room[0] > 0, dict.items(value))}
    if kind is slice and not deep:
        return slice(*parts((value.start, value.stop, value.step)))
    return _Bare(f"<{kind_of(value)[:100]}>")


def kind_of(value: Any) -> str:
    """The name of an object's type; of the object that it stands for, where that is in another process."""
    kind = type(value)
    if kind in _TENSORS:  # one that is odd
        return f"{kind.__name__} ({value.dtype}, {'nested' if value.is_nested else value.layout}, on {value.device})"
    return kind.__kind__(value) if hasattr(kind, "__kind__") else kind.__name__
