"""A GPU's two memories in a test: large, slow HBM, which counts the bytes that move, and small, fast SRAM, which fills.

Arrays lie in HBM under names. Code loads rows of them into SRAM, computes with what it got, and stores rows back. After
Dao et al. 2022 (FlashAttention), whose cost is counted in accesses to HBM.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from fridge.testing.expect import InWords, wrong
from fridge.testing.shares import ONCE
from fridge.workbench import arguments

LARGEST = 2**22  # elements of all arrays that a learner's code makes: a test's arrays are far smaller
LONGEST_NAME = 100  # characters


@dataclass(frozen=True)
class Access:
    """One load or store: of rows start to stop (excluded) of an array, or of one head of it.

    Attributes:
        columns: the first and the first behind, of one row; None: all columns.
        values: how many.
    """

    name: str
    start: int
    stop: int
    head: int | None
    columns: tuple[int, int] | None
    values: int


class Hbm:
    """HBM with arrays in it, and an SRAM of `sram` bytes (None: without a limit).

    Each array has one place in SRAM. Rows that are loaded stay in it until the next load of the same array, which
    overwrites them, or until `free`: whoever kept the block then finds NaN in it.

    Args:
        sram: bytes of SRAM.
        outputs: names of the arrays that a learner's code may store to, beside those it makes; None: to all.
        arrays: name -> tensor [rows], [rows, columns] or, with heads, [heads, rows, columns]; copied.

    Attributes:
        bytes_loaded, bytes_stored: what moved so far.
        peak_sram: bytes of SRAM that were in use at once, at most.
        loads, stores: each access, in order.
        created: name -> shape of the arrays that were made by `new`.
        learner_may: what a learner's code may use of it when the test runs in another process.
        learner_shares: method whose tensor changes there, too, when its place is taken.
    """

    learner_may = ("shape", "load", "store", "free", "new")
    learner_shares: ClassVar = {"load": ONCE}

    def __init__(self, sram: int | None = None, outputs: tuple[str, ...] | None = None, **arrays: Tensor):
        self.sram = sram
        self.outputs = outputs
        self.bytes_loaded = self.bytes_stored = self.peak_sram = 0
        self.loads: list[Access] = []
        self.stores: list[Access] = []
        self.created: dict[str, tuple[int, ...]] = {}
        self._arrays = {name: tensor.detach().clone() for name, tensor in arrays.items()}
        self._places: dict[str, Tensor] = {}  # name -> its rows in SRAM

    @property
    def bytes_moved(self) -> int:
        """All traffic, in both directions."""
        return self.bytes_loaded + self.bytes_stored

    @property
    def largest_created(self) -> int:
        """Elements of the largest array that was made by `new`; 0 if none was."""
        return max((math.prod(shape) for shape in self.created.values()), default=0)

    def array(self, name: str) -> Tensor:
        """A whole array, for the test: not counted."""
        return self._named(name).clone()

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of an array. Raises Wrong if there is none of that name."""
        return tuple(self._named(name).shape)

    @torch.inference_mode(False)
    def load(
        self, name: str, start: int = 0, stop: int | None = None, head: int | None = None, row: int | None = None
    ) -> Tensor:
        """Rows start to stop (excluded) of an array, copied into its place in SRAM.

        A `stop` behind the last row means the last row, as in a slice; left out, all rows.

        Args:
            head: which head, for an array with heads.
            row: which row of an array [rows, columns]; start and stop are then columns of it.

        Raises:
            Wrong: no such array, rows or head; or SRAM would hold more than it can.
        """
        rows, place = self._rows_of(name, head, row)
        first, last = _number(start, "start"), len(rows) if stop is None else min(_number(stop, "stop"), len(rows))
        self._within(name, rows, first, last)
        block = rows[first:last].clone()
        self.free(name)
        self._places[name] = block
        used = sum(map(_bytes, self._places.values()))
        if self.sram is not None and used > self.sram:
            there = ", ".join(f"{_bytes(block)} bytes of {self._called(held)}" for held, block in self._places.items())
            raise wrong(
                f"What is in SRAM after load({self._called(name)}, {first}, {last})",
                f"at most {self.sram} bytes",
                InWords(f"{used}: {there}"),
                "more rows than a block at once, or a block that is no longer needed and not freed",
            )
        self.peak_sram = max(self.peak_sram, used)
        self.bytes_loaded += _bytes(block)
        self.loads.append(_access(name, first, last, place, row is not None, block))
        return block

    @torch.inference_mode(False)
    def store(self, name: str, start: int, block: Tensor, head: int | None = None, row: int | None = None) -> None:
        """Write a block of rows to an array, from row `start` on; in the array's dtype. With `row`, columns of it.

        Raises:
            Wrong: no such array, rows or head; an array that is given to be read; or a block of another form.
        """
        rows, place = self._rows_of(name, head, row)
        if self.outputs is not None and name not in self.outputs and name not in self.created:
            there = ", ".join(map(repr, self.outputs))
            cause = (
                "it is given to be read, and stays as it was: compute with what load returned, and store results alone"
            )
            raise wrong("An array that was stored to", f"{there}, or one that you made", InWords(repr(name)), cause)
        values = arguments.tensor(block)
        first = _number(start, "start")
        end = len(rows) - first  # rows that there are from the first on
        if values is None or values.shape[1:] != rows.shape[1:] or not (values.ndim and 0 < len(values) <= end):
            form = ["rows", *rows.shape[1:]]
            expected = f"a tensor of shape [{', '.join(map(str, form))}], at most {end} rows from row {first} on"
            raise wrong(f"block, which is stored to {self._called(name)}", expected, _said(block))
        self._within(name, rows, first, first + len(values))
        rows[first : first + len(values)] = values.to(rows.dtype)
        self.bytes_stored += len(values) * _bytes(rows[:1])
        self.stores.append(_access(name, first, first + len(values), place, row is not None, values))

    @torch.inference_mode(False)
    def free(self, name: str) -> None:
        """Give the array's place in SRAM back; nothing happens if it is empty.

        Raises:
            Wrong: no such array.
        """
        self._named(name)
        gone = self._places.pop(name, None)
        if gone is not None and gone.is_floating_point():
            gone.fill_(math.nan)  # who kept the block would see something else than before on a GPU, too

    @torch.inference_mode(False)
    def new(self, name: str, *shape: int) -> None:
        """Make an array in HBM, for results between two steps. It holds NaN.

        Raises:
            Wrong: the name is taken or none, it is no shape, or HBM would be full.
        """
        if type(name) is not str or len(name) > LONGEST_NAME:
            raise wrong("name of a new array", f"a text, {LONGEST_NAME} characters at most", _said(name))
        numbers = arguments.wholes(shape[0] if len(shape) == 1 and isinstance(shape[0], list | tuple) else shape)
        room = LARGEST - sum(map(math.prod, self.created.values()))
        if not numbers or min(numbers) < 1 or math.prod(numbers) > room:
            expected = f"sides of 1 or more, {room} values in all at most"
            raise wrong("shape of new(…)", expected, InWords(f"{arguments.said(shape)} for {arguments.said(name)}"))
        if name in self._arrays:
            raise wrong("name of a new array", "one that is free", InWords(f"{name!r}, an array"))
        kind = next(iter(self._arrays.values())).dtype if self._arrays else torch.float32
        self._arrays[name] = torch.full(numbers, math.nan, dtype=kind)
        self.created[name] = tuple(numbers)

    def _named(self, name: Any) -> Tensor:
        if type(name) is not str or name not in self._arrays:
            there = ", ".join(repr(known) for known in self._arrays if known not in self.created)
            raise wrong("name of an array in HBM", f"one of {there}", _said(name))
        return self._arrays[name]

    def _rows_of(self, name: Any, head: Any, row: Any) -> tuple[Tensor, int | None]:
        # What start and stop count in, and the number of the row or head that it is; None for a whole array.
        array = self._named(name)
        if row is not None:
            number = _number(row, "row")
            if head is not None or array.ndim != 2 or not 0 <= number < len(array):
                there = f"0 to {len(array) - 1}" if array.ndim == 2 else "none: that is for an array [rows, columns]"
                raise wrong(f"row= of {self._called(name)}", there, _said(row))
            return array[number], number
        if head is None:
            if array.ndim > 2:
                raise wrong(f"Rows of {self._called(name)}, shape {list(array.shape)}", "head=…", InWords("no head"))
            return array, None
        number = _number(head, "head")
        if array.ndim < 2 or not 0 <= number < len(array):
            there = f"0 to {len(array) - 1}" if array.ndim > 1 else "none: the array has no heads"
            raise wrong(f"head of {self._called(name)}", there, _said(head))
        return array[number], number

    def _within(self, name: str, rows: Tensor, first: int, last: int) -> None:
        if not 0 <= first < last <= len(rows):
            got = InWords(f"rows {first} to {last} (excluded)")
            raise wrong(f"Rows of {self._called(name)}, which has {len(rows)}", "0 <= start < stop", got)

    def _called(self, name: str) -> str:
        # The name of an array that an answer made is its author's words, and may say anything.
        return "a new array" if name in self.created else repr(name)


def _access(name: str, first: int, last: int, place: int | None, is_row: bool, block: Tensor) -> Access:
    # Of one row, first to last are columns, and place is its number; else place is the head.
    if is_row:
        return Access(name, place, place + 1, None, (first, last), block.numel())
    return Access(name, first, last, place, None, block.numel())


def _bytes(block: Tensor) -> int:
    return block.numel() * block.element_size()


def _number(value: Any, what: str) -> int:
    number = arguments.whole(value)
    if number is None:
        raise wrong(f"{what} of an access to HBM", "a whole number", _said(value))
    return number


def _said(value: Any) -> InWords:
    return InWords(arguments.said(value))
