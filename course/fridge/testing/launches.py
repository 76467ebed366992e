"""Launches of Triton kernels: counted, and in the interpreter held to the memory of the tensors that they were given.

The interpreter takes a pointer for what it says. A store without a mask then spoils whatever lies behind a tensor, and
what it computes is right all the same; on a GPU compute-sanitizer's memcheck tells of it.
"""

import importlib.util
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils._pytree import tree_leaves

Memory = tuple[int, int]  # addresses: the first, and the first behind


@contextmanager
def watched() -> Iterator[list[str]]:
    """Names of the kernels that are launched in this context, whichever of Triton's two ways runs them."""
    launched: list[str] = []
    with ExitStack() as stack:
        if importlib.util.find_spec("triton"):
            from triton.runtime.interpreter import InterpretedFunction
            from triton.runtime.jit import JITFunction

            stack.enter_context(_noted(InterpretedFunction, launched, _kept_inside))
            stack.enter_context(_noted(JITFunction, launched, lambda _: ExitStack()))
        yield launched


@contextmanager
def _noted(kind: type, launched: list[str], around: Callable[[Any], Any]) -> Iterator[None]:
    run = kind.run

    def noted(self: Any, *positional: Any, **named: Any) -> Any:
        if named.get("warmup"):
            return run(self, *positional, **named)
        launched.append(self.__name__)
        with around((positional, named)):
            return run(self, *positional, **named)

    kind.run = noted
    try:
        yield
    finally:
        kind.run = run


@contextmanager
def _kept_inside(arguments: Any) -> Iterator[None]:
    # The interpreter's loads and stores, for as long as a kernel runs that was launched with these arguments.
    from triton.runtime.interpreter import interpreter_builder as builder

    tensors = [value for value in tree_leaves(arguments) if isinstance(value, Tensor)]
    if any(value.device.type != "cpu" for value in tensors):  # the interpreter runs on copies of them
        yield
        return
    allowed = [_memory(value) for value in tensors]
    load, store = builder.create_masked_load, builder.create_masked_store

    def masked_load(ptrs: Any, mask: Any, *others: Any) -> Any:
        _expect_inside(ptrs, mask, allowed, "loads")
        return load(ptrs, mask, *others)

    def masked_store(ptrs: Any, value: Any, mask: Any, *others: Any) -> Any:
        _expect_inside(ptrs, mask, allowed, "stores")
        return store(ptrs, value, mask, *others)

    builder.create_masked_load, builder.create_masked_store = masked_load, masked_store
    try:
        yield
    finally:
        del builder.create_masked_load, builder.create_masked_store  # the class has its own


def _memory(value: Tensor) -> Memory:
    storage = value.untyped_storage()
    return storage.data_ptr(), storage.data_ptr() + storage.nbytes()


def _expect_inside(ptrs: Any, mask: Any, allowed: Iterable[Memory], does: str) -> None:
    # `ptrs` holds addresses of elements; those that the mask leaves out aren't touched.
    size = max(ptrs.get_element_ty().primitive_bitwidth // 8, 1)
    inside = ~np.broadcast_to(mask.data, ptrs.data.shape)
    for start, behind in allowed:
        inside = inside | ((ptrs.data >= start) & (ptrs.data + np.uint64(size) <= behind))
    if not inside.all():
        raise IndexError(f"the kernel {does} outside of its tensors: mask what lies behind their end")
