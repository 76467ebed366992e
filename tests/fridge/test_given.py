"""What a learner gave becomes a value of the test's own, or a message that says what is missing."""

import math
import time
from collections import namedtuple

import numpy as np
import pytest
import torch

from fridge.testing import (
    Wrong,
    expect_close,
    expect_equal,
    expect_number,
    expect_parts,
    expect_tensor,
    token_ids,
    whole_numbers,
)
from fridge.testing.expect import is_large
from fridge.testing.given import MOST_NUMBERS

CODES = torch.tensor([[1, 2], [3, 4]], dtype=torch.int8)


class SaysInt8:
    """No int8 at all: what it answers is as unrounded as it likes."""

    dtype, shape, layout, is_meta = torch.int8, CODES.shape, torch.strided, False

    def double(self) -> torch.Tensor:
        return CODES.double() + 0.3

    def __getattr__(self, name: str):
        return lambda *_, **__: self.double()


class Evil(torch.Tensor):
    """A subclass whose functions say what the test wishes."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return CODES.clone()


def disguised() -> torch.Tensor:
    """Unrounded, with attributes that say otherwise."""
    value = torch.full((2, 2), 0.3)
    for name in ("detach", "double", "cpu", "clone", "tolist", "is_complex", "dim", "numel"):
        setattr(value, name, lambda *_: CODES.clone())
    return value


@pytest.mark.parametrize(
    "got",
    [
        *((), [], {}, None, 0, "", math.nan, True, torch.empty(0), torch.zeros(2, 2), CODES.tolist(), CODES.numpy()),
        *(SaysInt8(), CODES.clone().as_subclass(Evil), disguised(), CODES.to(torch.complex64), CODES.float(), CODES[0]),
    ],
    ids=lambda got: type(got).__name__,
)
def test_a_tensor_is_one_of_that_shape_and_dtype(got):
    """Guards against codes that were never rounded, of an object that says that it is int8."""
    with pytest.raises(Wrong, match="codes"):
        expect_tensor(got, "the codes", (2, 2), torch.int8)


def test_a_tensors_values_are_the_tests_own():
    """Guards against a change after the question, and against attributes that come along."""
    mine = CODES.clone()
    mine.max = lambda: 5
    got = expect_tensor(mine, "codes", [2, 2], torch.int8)
    mine.fill_(9)
    assert got.tolist() == CODES.tolist()
    assert int(got.max()) == 4
    leaf = torch.ones(2, requires_grad=True)
    assert not expect_tensor(leaf.expand(3, 2), "ones").requires_grad
    assert type(expect_tensor(torch.nn.Parameter(leaf.detach()), "ones")) is torch.Tensor


@pytest.mark.parametrize(
    ("got", "words"),
    [
        ((), "0 values: ()"),
        ([1, 2, 3], "more than 2 values"),
        (iter(range(2**62)), "more than 2 values"),
        (None, "None (is a `return` missing?)"),
        ({"codes": 1, "scale": 2}, "{'codes'"),
        ("ab", "'ab'"),
        (5, "5"),
        (torch.tensor(1.0), "got:"),
    ],
)
def test_parts_that_are_missing_are_counted(got, words):
    """Guards against Python's "not enough values to unpack", which reads as if the test were broken."""
    with pytest.raises(Wrong) as raised:
        expect_parts(got, "codes, scale", "what quantize returns")
    assert words in str(raised.value)
    assert "(codes, scale)" in str(raised.value)


def test_parts_are_parts_in_whatever_they_came():
    """Guards against losing points for a list, a named tuple, a generator or the rows of a tensor."""
    pair = namedtuple("pair", "codes scale")
    for got in ((1, 2), [1, 2], pair(1, 2), iter((1, 2)), np.array([1, 2]), torch.tensor([1, 2])):
        assert [int(part) for part in expect_parts(got, "codes, scale", "x")] == [1, 2]


@pytest.mark.parametrize(
    "got", [True, "1", None, (), [1, 2], torch.ones(2), torch.tensor(True), torch.tensor(1j), 2**5000, [[[]]], object()]
)
def test_what_is_no_number(got):
    """Guards against a truth value, a text and an overflow in the test's own arithmetic."""
    with pytest.raises(Wrong, match="a number"):
        expect_number(got, "the scale")


@pytest.mark.parametrize("got", [3, 3.0, np.float32(3), np.int8(3), torch.tensor(3), torch.tensor([[3.0]]), [3.0]])
def test_what_is_a_number(got):
    """Guards against losing points for a number in a tensor."""
    assert expect_number(got, "the scale") == 3


@pytest.mark.parametrize("make", [torch.zeros, lambda *shape: np.zeros(shape)])
@pytest.mark.parametrize("shape", [(2**26, 0), (2**21,), (0, 2**40), (2**17, *[1] * 30)])
def test_a_large_tensor_is_no_list(make, shape):
    """Guards against 2 GB of lists from a tensor of 25 bytes."""
    assert is_large(make(*shape))
    assert not is_large(make(2**10, 2**9, 2))
    with pytest.raises(Wrong):
        expect_equal(make(*shape), [1, 2], "codes")
    with pytest.raises(Wrong):
        token_ids(make(*shape), "tokens")


def test_numbers_without_an_end_are_wrong_answers():
    """Guards against an OverflowError or a ValueError of the test's own."""
    for got in (10**400, 10**5000, [math.nan], [math.inf]):
        with pytest.raises(Wrong):
            expect_close(got, torch.tensor(1.0), "x")
        with pytest.raises(Wrong):
            expect_equal(got, 1, "x")
        with pytest.raises(Wrong):
            token_ids(got, "x")


@pytest.mark.parametrize(
    "got",
    [
        *([torch.ones(2)], [[1, 2]], [torch.tensor([])], ["1"], [True], [None], [1.5], "12", {"a": 1}, {1}, None, 3),
        *(torch.ones(2).to_sparse(), torch.empty(2, device="meta"), [torch.ones(1).to_sparse()], [torch.tensor(1j)]),
    ],
    ids=repr,
)
def test_what_is_no_list_of_ids(got):
    """Guards against an error of PyTorch's, which reads as if the answer had raised it."""
    with pytest.raises(Wrong, match="a list of token ids"):
        token_ids(got, "the draft")


@pytest.mark.parametrize(
    "got",
    [
        *([1, 2, 3], (1, 2, 3), range(1, 4), iter([1, 2, 3]), [1.0, 2, 3], {1: "a", 2: "b", 3: "c"}.keys()),
        *(torch.tensor([1, 2, 3]), np.array([1, 2, 3]), [torch.tensor(1), np.int8(2), 3]),
    ],
    ids=lambda got: type(got).__name__,
)
def test_whole_numbers_in_any_form(got):
    """Guards against losing points for blocks in a tensor, a range or a generator."""
    assert whole_numbers(got, "blocks") == [1, 2, 3]


@pytest.mark.parametrize(
    "got",
    [
        *(["1", "2"], "12", [0.7, 1], [True], [None], None, 3, {1: 2}, [[1]], torch.ones(2, 2), [math.nan], [2**80]),
        *([str(k * (2**61 - 1)) for k in range(50_000)], range(MOST_NUMBERS + 1), iter(int, 1)),
    ],
    ids=lambda got: type(got).__name__,
)
def test_what_are_no_whole_numbers(got):
    """Guards against 0.7 that int() makes a block 0, and texts that it makes numbers of one hash: a set takes hours."""
    with pytest.raises(Wrong, match="a list of whole numbers"):
        whole_numbers(got, "blocks")


def test_many_numbers_make_a_set_soon():
    """Guards against numbers in the order in which a table looks for a free place: nobody is stopped in a set()."""
    walking, place, mask = [], 1, 2**15 - 1
    for _ in range(MOST_NUMBERS):
        walking.append(place + 2**30 * (mask + 1))
        place = (5 * place + 1) & mask
    began = time.process_time()
    assert len(dict.fromkeys(whole_numbers(walking, "blocks"))) == len(set(walking)) == MOST_NUMBERS
    assert time.process_time() - began < 5
