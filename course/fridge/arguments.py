"""Arguments as plain values, for objects that count work: what can't be taken for a number or a list of them isn't."""

from collections.abc import Mapping
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

HUGE = 2**62  # beyond any size or place, and not too long for a message
MOST = 2**20  # elements of a list: more than any pool has slots
_TENSORS = (Tensor, torch.nn.Parameter)  # no other subclasses, which may redefine what they hold
_NO_LISTS = (str, bytes, bytearray, memoryview, Mapping)


def whole(value: Any) -> int | None:
    """The whole number that a value is: an int, a float without a fraction, NumPy's, a tensor of none or one of them.

    None for anything else: truth values, NaN, texts, lists, numbers that no memory has, and objects that could say one
    thing now and another later.
    """
    if type(value) in _TENSORS:
        own = Tensor.detach(value)  # without attributes in the way of its methods
        if own.layout != torch.strided or own.is_meta or own.dim() or own.is_complex() or own.is_quantized:
            return None
        value = own.item()
    elif isinstance(value, np.generic) and type(value).__module__ == "numpy":
        value = value.item()
    if type(value) is float and value.is_integer():
        value = int(value)
    return value if type(value) is int and abs(value) < HUGE else None


def wholes(values: Any) -> list[int] | None:
    """The whole numbers in a list, a tuple, a range, a set, a tensor or array of one dimension, or an iterator.

    None for anything else, for one element that is no whole number, and for more than `MOST`.
    """
    if type(values) in _TENSORS:
        own = Tensor.detach(values)
        if own.layout != torch.strided or own.is_meta or own.dim() != 1 or own.is_complex() or own.is_quantized:
            return None
        values = own[: MOST + 1].tolist()
    elif type(values) is np.ndarray:
        values = values[: MOST + 1].tolist() if values.ndim == 1 else None
    elif isinstance(values, (Tensor, np.ndarray, *_NO_LISTS)):
        return None
    try:
        numbers = [whole(value) for value in islice(values, MOST + 1)]
    except TypeError:
        return None
    return None if None in numbers or len(numbers) > MOST else numbers


def tensor(value: Any) -> Tensor | None:
    """A tensor's values in another tensor, without the attributes that the first may have; None for anything else."""
    if type(value) not in _TENSORS or value.layout != torch.strided or value.is_meta or value.is_quantized:
        return None
    own = Tensor.detach(value)
    return None if own.is_complex() else own


def said(value: Any) -> str:
    """A value in a few words, for a message that refuses it."""
    if type(value) in _TENSORS:
        return f"a tensor of shape {list(value.shape)}, {value.dtype}"
    if type(value) in (type(None), bool, int, float, str, bytes, list, tuple, dict, set, range, slice):
        try:
            words = repr(value)
        except Exception:  # an int of 10,000 digits; a list in itself; an element's own __repr__
            words = f"a very large {type(value).__name__}"
        return words if len(words) <= 100 else words[:100] + " …"
    return f"an object of type {type(value).__name__[:100]}"
