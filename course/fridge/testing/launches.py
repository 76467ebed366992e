"""Launches of Triton kernels: counted, and in the interpreter held to the memory of the tensors that they were given.

The interpreter takes a pointer for what it says. A store without a mask then spoils whatever lies behind a tensor, and
what it computes is right all the same. On a GPU compute-sanitizer's memcheck tells of it, where PyTorch keeps no memory
in reserve (PYTORCH_NO_CUDA_MEMORY_CACHING=1).
"""

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any
from unittest.mock import patch

import numpy as np
from torch import Tensor
from torch.utils._pytree import tree_leaves

Span = tuple[int, int]  # addresses: the first, and the first behind

_ACCESSES = {  # what the interpreter calls for each: where in its arguments the pointers and the mask stand
    "create_masked_load": (0, 1, "loads"),
    "create_masked_store": (0, 2, "stores"),
    "create_atomic_rmw": (1, 3, "changes what lies"),
    "create_atomic_cas": (0, None, "changes what lies"),
}
_given: ContextVar[Sequence[Span] | None] = ContextVar("_given", default=None)  # to the kernel that runs; None: unknown


@contextmanager
def watched() -> Iterator[list[str]]:
    """Names of the kernels that are launched in this context, whichever of Triton's two ways runs them.

    In the interpreter an access outside of the tensors that a kernel was given is an IndexError, which the interpreter
    wraps in its own. Pointers that are plain numbers aren't known as tensors.
    """
    launched: list[str] = []
    with ExitStack() as stack:
        if importlib.util.find_spec("triton"):
            from triton.runtime.interpreter import InterpretedFunction, interpreter_builder
            from triton.runtime.jit import JITFunction

            for kind in (InterpretedFunction, JITFunction):
                stack.enter_context(patch.object(kind, "run", _noted(kind.run, launched)))
            for name, (pointers, mask, does) in _ACCESSES.items():
                access = getattr(interpreter_builder, name)
                stack.enter_context(patch.object(interpreter_builder, name, _inside(access, pointers, mask, does)))
        yield launched


def _noted(run: Callable[..., Any], launched: list[str]) -> Callable[..., Any]:
    def noted(self: Any, *positional: Any, **named: Any) -> Any:
        if named.get("warmup"):
            return run(self, *positional, **named)
        launched.append(self.__name__)
        before = _given.set(_spans((positional, named)))
        try:
            return run(self, *positional, **named)
        finally:
            _given.reset(before)

    return noted


def _inside(access: Callable[..., Any], pointers: int, mask: int | None, does: str) -> Callable[..., Any]:
    def inside(*positional: Any, **named: Any) -> Any:
        spans = _given.get()
        if spans is not None:
            _expect_inside(positional[pointers], None if mask is None else positional[mask], spans, does)
        return access(*positional, **named)

    return inside


def _spans(arguments: Any) -> Sequence[Span] | None:
    tensors = [tensor for tensor in map(_tensor, tree_leaves(arguments)) if tensor is not None]
    if any(tensor.device.type != "cpu" for tensor in tensors):  # the interpreter runs on copies of them
        return None
    storages = [tensor.untyped_storage() for tensor in tensors]
    return [(storage.data_ptr(), storage.data_ptr() + storage.nbytes()) for storage in storages]


def _tensor(value: Any) -> Tensor | None:
    # Triton's own descriptors and tensors of another dtype have theirs as `base`.
    if not isinstance(value, Tensor) and type(value).__module__.startswith("triton."):
        value = getattr(value, "base", None)
    return value if isinstance(value, Tensor) else None


def _expect_inside(pointers: Any, mask: Any, spans: Sequence[Span], does: str) -> None:
    # Addresses of elements; those that the mask leaves out aren't touched.
    first, size = pointers.data, max(pointers.get_element_ty().primitive_bitwidth // 8, 1)
    inside = np.zeros(first.shape, dtype=bool)
    if mask is not None:
        inside = np.broadcast_to(np.logical_not(mask.data), first.shape)
    for start, behind in spans:
        inside = inside | ((first >= start) & (first + np.uint64(size) <= behind))
    if not inside.all():
        raise IndexError(f"the kernel {does} outside of its tensors: mask what lies behind their end")
