"""A kernel that stands in a notebook, as a file of its own: its source, and what it names.

Triton compiles what it can read in a file, in another process than the one that interprets kernels.
"""

import dis
import inspect
import math
from textwrap import dedent
from types import CodeType, FunctionType, ModuleType
from typing import Any

from fridge.attention.kernels import tl

HEADER = "import triton\nimport triton.language as tl\n"
_PLAIN = (bool, int, float, str)


def kernel_source(kernel: Any) -> str:
    """Python text that defines this kernel, with the functions, modules and numbers that it names.

    Args:
        kernel: what `@triton.jit` made, interpreted or compiled.

    Raises:
        ValueError: it stands in no file or cell, or names an object of another kind.
    """
    parts: dict[str, str] = {}
    _collect(_function(kernel), parts)
    return HEADER + "\n".join(parts.values())


def kernel_name(kernel: Any) -> str:
    """The name under which `kernel_source` defines it."""
    return _function(kernel).__name__


def _function(kernel: Any) -> FunctionType:
    while not isinstance(kernel, FunctionType):  # what Triton wraps around it
        kernel = kernel.fn
    return kernel


def _collect(function: FunctionType, parts: dict[str, str]) -> None:
    # In an order in which each name is defined before it is needed.
    for name in sorted(_names(function.__code__) & function.__globals__.keys() - parts.keys() - {"tl", "triton"}):
        parts[name] = ""  # begun: a function may name itself
        parts[name] = _definition(name, function.__globals__[name], parts)
    try:
        source = inspect.getsource(function)
    except OSError as error:
        raise ValueError(f"the text of {function.__name__} isn't at hand") from error
    parts.pop(function.__name__, None)
    parts[function.__name__] = dedent(source) + "\n"


def _definition(name: str, value: Any, parts: dict[str, str]) -> str:
    if isinstance(value, ModuleType):
        return f"import {value.__name__} as {name}"
    if theirs := next((known for known, one in vars(tl).items() if one is value), None):
        return f"from triton.language import {theirs} as {name}"
    if hasattr(value, "fn"):  # another function for kernels
        _collect(_function(value), parts)
        return parts[_function(value).__name__]
    held = getattr(value, "value", value)  # of a tl.constexpr
    if not isinstance(held, _PLAIN):
        raise ValueError(f"{name} is of type {type(value).__name__}; a kernel can name functions, modules and numbers")
    text = f"float('{held}')" if isinstance(held, float) and not math.isfinite(held) else repr(held)
    return f"{name} = tl.constexpr({text})"


def _names(code: CodeType) -> set[str]:
    own = {step.argval for step in dis.get_instructions(code) if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    inner = (constant for constant in code.co_consts if isinstance(constant, CodeType))
    return own.union(*map(_names, inner))
