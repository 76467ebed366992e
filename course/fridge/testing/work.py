"""What a learner's code does out of a test's sight, measured where it runs: in the notebook here, in grading by the
learner's own process.

Products by PyTorch's FlopCounterMode, tensors by its dispatch, kernels where Triton launches them, Python's memory by
tracemalloc.
"""

import gc
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from types import FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from fridge.testing.launches import watched

MOST_OBJECTS = 100_000  # that are gone through to find an object's tensors
_CPU_ATTENTION = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # which the counter doesn't know
_NO_MEMORY = (type, ModuleType, int, float, str, bytes, type(None))  # what an object refers to and doesn't hold
_SPARSE = {  # layout -> methods that give the plain tensors of such a one
    torch.sparse_coo: ("_indices", "_values"),
    torch.sparse_csr: ("crow_indices", "col_indices", "values"),
    torch.sparse_bsr: ("crow_indices", "col_indices", "values"),
    torch.sparse_csc: ("ccol_indices", "row_indices", "values"),
    torch.sparse_bsc: ("ccol_indices", "row_indices", "values"),
}
_UNFILLED = tuple(
    getattr(torch.ops.aten, name)
    for name in ("empty", "empty_like", "empty_strided", "empty_permuted", "new_empty", "new_empty_strided")
)
_NEW = torch.ops.aten.lift_fresh.default  # what torch.tensor made out of sight: no view, though it looks like one

Memory = tuple[int, int]  # address, bytes


@dataclass(frozen=True)
class Work:
    """What a call did.

    NumPy's part isn't seen.

    Attributes:
        flops: floating-point operations of PyTorch's products: matmul, einsum, attention.
        largest: bytes of the largest floating-point tensor that PyTorch made; a view of what was there is none.
        launches: launches of Triton kernels.
    """

    flops: int
    largest: int
    launches: int


def measured(function: Callable[..., Any], *positional: Any, **named: Any) -> tuple[Any, Work]:
    """Call a learner's function; what it returns, and the work that it took.

    Two things aren't as without it: what `torch.empty` and its like make holds NaN, and a kernel that leaves its
    tensors' memory raises where Triton's interpreter runs it (`launches`).
    """
    elsewhere = getattr(type(function), "__measured__", None)  # of what stands for a function in another process
    if elsewhere is not None:
        value, numbers = elsewhere(function, positional, named)
        return value, Work(*numbers)
    tensors = _Tensors(_reached(function.__self__)[0] if type(function) is MethodType else set())
    flops = FlopCounterMode(display=False, custom_mapping={_CPU_ATTENTION: _attention_flops})
    with watched() as launches, flops, tensors:
        value = function(*positional, **named)
    return value, Work(flops.get_total_flops(), tensors.largest, len(launches))


def allocated(function: Callable[..., Any], *positional: Any, **named: Any) -> tuple[Any, int]:
    """Call a learner's function; what it returns, and the most bytes that Python's and NumPy's objects took in it.

    Those that were there before don't count. A copy of all that came before shows in it, however soon it is gone. What
    is imported during a first call counts, too, and so do copies of the arguments that are kept for comparison: ask
    more than once, with small arguments, and take the least.
    """
    elsewhere = getattr(type(function), "__allocated__", None)
    if elsewhere is not None:
        return elsewhere(function, positional, named)
    was_tracing = tracemalloc.is_tracing()
    if not was_tracing:
        tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        value = function(*positional, **named)
        return value, max(0, tracemalloc.get_traced_memory()[1] - before)
    finally:
        if not was_tracing:
            tracemalloc.stop()


def held_bytes(thing: Any) -> int:
    """Bytes of all tensors and arrays that can be reached from an object, each memory once: what it really holds.

    Closures are gone through, too; what belongs to a test isn't.
    """
    elsewhere = getattr(type(thing), "__held_bytes__", None)
    if elsewhere is not None:
        return elsewhere(thing)
    memories, further = _reached(thing)
    return _together(memories) + further


def _reached(thing: Any) -> tuple[set[Memory], int]:
    # All memories, and the bytes of what is in another process.
    memories: set[Memory] = set()
    further = 0
    seen, open_ones = {id(thing)}, [thing]
    while open_ones and len(seen) < MOST_OBJECTS:
        for part in _parts(open_ones.pop()):
            # By type: `isinstance` asks an object itself, and a weak reference's proxy may have none.
            kind = type(part)
            if id(part) in seen or issubclass(kind, _NO_MEMORY) or hasattr(kind, "learner_may"):
                continue
            seen.add(id(part))
            if hasattr(kind, "__held_bytes__"):
                further += kind.__held_bytes__(part)
                continue
            memories.update(_memories(part))
            open_ones.append(part)
    return memories, further


def _attention_flops(q: list[int], k: list[int], v: list[int], *_: Any, **__: Any) -> int:
    return sdpa_flop_count(q, k, v)


def _parts(thing: Any) -> list[Any]:
    if type(thing) is FunctionType:  # its globals are everybody's
        cells = [part for cell in thing.__closure__ or () for part in gc.get_referents(cell)]
        return [*cells, *(thing.__defaults__ or ()), thing.__kwdefaults__, thing.__dict__]
    if type(thing) is np.ndarray and thing.dtype == object:
        return thing.ravel().tolist()
    return gc.get_referents(thing)


def _memories(part: Any) -> list[Memory]:
    # Of what a tensor or array looks at, all of it.
    if issubclass(type(part), np.ndarray):
        while isinstance(part.base, np.ndarray):
            part = part.base
        return [(part.ctypes.data, part.nbytes)]
    if not issubclass(type(part), Tensor):
        return []
    return [_memory(plain) for plain in _plain(part)]


def _plain(tensor: Tensor) -> list[Tensor]:
    if tensor.is_meta or is_lazy(tensor):
        return []
    return [getattr(tensor, name)() for name in _SPARSE.get(tensor.layout, ())] or [tensor]


def _memory(part: Tensor) -> Memory:
    if part.is_mkldnn:  # in a form that it shows nobody
        return id(part), part.numel() * part.element_size()
    return part.untyped_storage().data_ptr(), part.untyped_storage().nbytes()


def _together(memories: set[Memory]) -> int:
    # They may overlap: an array, and a tensor that was made of its end.
    total = end = 0
    for address, size in sorted(memories):
        total += max(0, address + size - max(address, end))
        end = max(end, address + size)
    return total


class _Tensors(TorchDispatchMode):
    """Sees each tensor that PyTorch makes while it is entered.

    Args:
        known: memory that was there before; a tensor of NumPy's array looks at it and makes none.
    """

    def __init__(self, known: set[Memory]) -> None:
        super().__init__()
        self.largest = 0
        self._known = known

    def __torch_dispatch__(self, operation: Any, types: Any, positional: Any = (), named: Any = None) -> Any:
        there = {address for address, _ in _all_memories((positional, named)) if operation is not _NEW}
        made = operation(*positional, **(named or {}))
        if operation.overloadpacket in _UNFILLED and made.layout == torch.strided and _has_nan(made):
            with suppress(NotImplementedError):  # 4 bits have no NaN
                made.fill_(torch.nan)  # whatever lay there: the same here and in grading, and no number by chance
        sizes = (size for address, size in _all_memories(made) if address not in there and not self._knows(address))
        self.largest = max(self.largest, *sizes, 0)
        return made

    def _knows(self, address: int) -> bool:
        return any(start <= address < start + size for start, size in self._known)


def _has_nan(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()


def _all_memories(values: Any) -> Iterator[Memory]:
    for value in tree_leaves(values):
        if isinstance(value, Tensor):
            yield from (_memory(plain) for plain in _plain(value) if plain.is_floating_point())
