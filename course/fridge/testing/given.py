"""What a learner's code gave, brought to values before anything is asked of it.

An object can say that it has a shape, a dtype or a sum which its values haven't. So a test asks a learner's answer
nothing: it takes the parts, tensors and numbers that these functions return, which are plain and the test's own.
"""

from collections.abc import Sequence
from fractions import Fraction
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fridge.testing.expect import LARGEST, InWords, describe, is_large, is_real_tensor, on_cpu, wrong
from fridge.workbench import arguments

MOST_NUMBERS = 10_000  # that a test asks for: as numbers of a learner's may walk over one another in a set
_NO_PARTS = (str, bytes, dict, set, frozenset)  # can be gone through, and are no tuple
_LISTS = ("range", "deque", "array")  # of numbers, besides those that cross as lists


def expect_parts(got: Any, names: str, what: str, cause: str = "") -> tuple[Any, ...]:
    """The parts of what is to be a tuple, a list for short: `codes, scale = expect_parts(got, "codes, scale", "…")`.

    Raises:
        Wrong: it can't be gone through, or has more or fewer parts.
    """
    count = names.count(",") + 1
    if issubclass(type(got), _NO_PARTS) or arguments.kind_of(got) in (kind.__name__ for kind in _NO_PARTS):
        raise wrong(what, f"({names})", got, cause)
    try:
        parts = tuple(islice(got, count + 1))
    except TypeError:
        raise wrong(what, f"({names})", got, cause) from None
    if len(parts) != count:
        number = f"more than {count} values" if len(parts) > count else f"{len(parts)} values"
        raise wrong(what, f"({names}), {count} values", InWords(f"{number}: {describe(got)}"), cause)
    return parts


def expect_list(got: Any, what: str, cause: str = "") -> list[Any]:
    """The elements of a list or a tuple; not of what makes them one by one, when somebody asks.

    Raises:
        Wrong: it is neither.
    """
    if issubclass(type(got), list):
        return list(list.__iter__(got))
    if issubclass(type(got), tuple):
        return list(tuple.__iter__(got))
    raise wrong(what, "a list", got, cause)


def expect_tensor(
    got: Any, what: str, shape: Sequence[int] | None = None, dtype: torch.dtype | None = None, cause: str = ""
) -> Tensor:
    """A tensor's values, in a tensor on the CPU that nobody else has.

    Raises:
        Wrong: no tensor, or one of another shape or dtype, where these are given.
    """
    if not is_real_tensor(got):
        raise wrong(what, "a tensor" if shape is None else f"a tensor of shape {list(shape)}", got, cause)
    value = on_cpu(got).clone()
    if shape is not None and value.shape != torch.Size(shape):
        raise wrong(what, f"shape {list(shape)}", InWords(f"shape {list(value.shape)}"), cause)
    if dtype is not None and value.dtype != dtype:
        raise wrong(what, dtype, InWords(str(value.dtype)), cause)
    return value


def expect_number(got: Any, what: str, cause: str = "") -> int | float:
    """A number, or the one element of a tensor, an array or a list, as Python's.

    Raises:
        Wrong: anything else.
    """
    own = arguments.number(got)
    if type(own) is float or (type(own) in (int, Fraction) and abs(own) < LARGEST):
        return float(own) if type(own) is Fraction else own
    value = as_tensor(got)
    if not is_real_tensor(value) or value.dtype == torch.bool or (own := on_cpu(value)).numel() != 1:
        raise wrong(what, "a number", got, cause)
    return own.item()


def token_ids(value: Any, what: str) -> tuple[int, ...]:
    """Token ids from a list, a tuple, a tensor or an array. Raises Wrong for anything else."""
    if (is_real_tensor(value) or isinstance(value, np.ndarray)) and not is_large(value):
        value = on_cpu(value).tolist() if isinstance(value, Tensor) else value.tolist()
    if isinstance(value, list | tuple):
        items = list(map(_one, value))
        if all(type(item) is int or (type(item) is float and item.is_integer()) for item in items):
            return tuple(int(item) for item in items)
    raise wrong(what, "a list of token ids", value)


def whole_numbers(value: Any, what: str) -> list[int]:
    """The whole numbers in a list, a tuple, a tensor or whatever can be gone through, `MOST_NUMBERS` at most.

    Raises:
        Wrong: anything else, and a number with a fraction or a text among them: int() would make it another one.
    """
    numbers = arguments.wholes(value)
    if numbers is None or len(numbers) > MOST_NUMBERS:
        raise wrong(what, "a list of whole numbers", value)
    return numbers


def _one(item: Any) -> Any:
    # A number of another class, or the one element of a tensor, as Python's.
    if is_real_tensor(item) and Tensor.numel(item) == 1:
        item = on_cpu(item).item()
    return arguments.number(item.item() if isinstance(item, np.generic) else item)


def as_tensor(value: Any) -> Any:
    """Numbers, lists of them and arrays as a float64 tensor, for `expect_close`; anything else as it is."""
    if isinstance(value, Tensor):
        return value
    try:
        return torch.tensor(np.asarray(_numbers(value), dtype=np.float64))
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return value


def _numbers(value: Any) -> Any:
    # What NumPy may make numbers of. By itself it would of "140", True and None, too, and of other kinds of objects
    # in grading, where they are in another process, than in a notebook.
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind == "O":
        value = value.tolist()
    if isinstance(value, list | tuple) or arguments.kind_of(value) in _LISTS:
        return list(map(_numbers, islice(value, arguments.MOST)))
    if is_real_tensor(value) and value.dtype != torch.bool and not is_large(value):
        return on_cpu(value).tolist()
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "iuf":
        return value
    own = arguments.number(value)
    if type(own) not in (int, float, Fraction):
        raise TypeError(f"not a number: {arguments.kind_of(own)}")
    return own
