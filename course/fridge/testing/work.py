"""What a learner's code does out of a test's sight, measured where it runs: in the notebook here, in grading by the
learner's own process.

Products by PyTorch's FlopCounterMode, tensors by its dispatch, kernels where Triton launches them.
"""

import gc
import importlib.util
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

MOST_OBJECTS = 100_000  # that are gone through to find an object's tensors
_CPU_ATTENTION = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # which the counter doesn't know
_NOT_OWN = (type, ModuleType, type(lambda: None), type(print))  # what an object refers to and doesn't hold


@dataclass(frozen=True)
class Work:
    """What a call did.

    NumPy's part isn't seen.

    Attributes:
        flops: floating-point operations of PyTorch's products: matmul, einsum, attention.
        largest: bytes of the largest floating-point tensor that PyTorch made; a view is none.
        launches: launches of Triton kernels.
    """

    flops: int
    largest: int
    launches: int


def measured(function: Callable[..., Any], *positional: Any, **named: Any) -> tuple[Any, Work]:
    """Call a learner's function; what it returns, and the work that it took."""
    elsewhere = getattr(type(function), "__measured__", None)  # of what stands for a function in another process
    if elsewhere is not None:
        value, numbers = elsewhere(function, positional, named)
        return value, Work(*numbers)
    tensors = _Tensors()
    flops = FlopCounterMode(display=False, custom_mapping={_CPU_ATTENTION: _attention_flops})
    with _launches() as launches, flops, tensors:
        value = function(*positional, **named)
    return value, Work(flops.get_total_flops(), tensors.largest, len(launches))


def held_bytes(thing: Any) -> int:
    """Bytes of all tensors and arrays that can be reached from an object, each memory once: what it really holds."""
    elsewhere = getattr(type(thing), "__held_bytes__", None)
    if elsewhere is not None:
        return elsewhere(thing)
    memories: dict[int, int] = {}
    seen, open_ones = {id(thing)}, [thing]
    while open_ones and len(seen) < MOST_OBJECTS:
        for part in gc.get_referents(open_ones.pop()):
            if id(part) in seen or isinstance(part, _NOT_OWN):
                continue
            seen.add(id(part))
            if (memory := _memory(part)) is not None:
                memories[memory[0]] = memory[1]
            open_ones.append(part)
    return sum(memories.values())


def _attention_flops(q: list[int], k: list[int], v: list[int], *_: Any, **__: Any) -> int:
    return sdpa_flop_count(q, k, v)


def _memory(part: Any) -> tuple[int, int] | None:
    # Address and bytes of what a tensor or array looks at, all of it.
    if isinstance(part, Tensor):
        return part.untyped_storage().data_ptr(), part.untyped_storage().nbytes()
    if isinstance(part, np.ndarray):
        while isinstance(part.base, np.ndarray):
            part = part.base
        return part.ctypes.data, part.nbytes
    return None


class _Tensors(TorchDispatchMode):
    """Sees each tensor that PyTorch makes while it is entered."""

    largest = 0

    def __torch_dispatch__(self, operation: Any, types: Any, positional: Any = (), named: Any = None) -> Any:
        made = operation(*positional, **(named or {}))
        given = {_memory(tensor) for tensor in tree_leaves((positional, named)) if isinstance(tensor, Tensor)}
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor) and tensor.is_floating_point() and _memory(tensor) not in given:
                self.largest = max(self.largest, tensor.untyped_storage().nbytes())
        return made


@contextmanager
def _launches() -> Iterator[list[str]]:
    # Names of the kernels that are launched, whichever of Triton's two ways runs them.
    launched: list[str] = []
    with ExitStack() as stack:
        if importlib.util.find_spec("triton"):
            from triton.runtime.interpreter import InterpretedFunction
            from triton.runtime.jit import JITFunction

            for kind in (InterpretedFunction, JITFunction):
                stack.enter_context(_noted(kind, launched))
        yield launched


@contextmanager
def _noted(kind: type, launched: list[str]) -> Iterator[None]:
    run = kind.run

    def noted(self: Any, *positional: Any, **named: Any) -> Any:
        if not named.get("warmup"):
            launched.append(self.__name__)
        return run(self, *positional, **named)

    kind.run = noted
    try:
        yield
    finally:
        kind.run = run
