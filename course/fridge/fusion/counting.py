"""What a step asks of PyTorch: each operation that it dispatches, by name, and those that compute nothing left out."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

PRODUCTS = ("mm", "addmm", "bmm", "linear")
ATTENTION = "_scaled_dot_product"  # how the names of its back ends begin
_NO_KERNEL = (  # give another view of what is there
    "alias",
    "detach",
    "expand",
    "permute",
    "reshape",
    "select",
    "slice",
    "split",
    "split_with_sizes",
    "squeeze",
    "t",
    "transpose",
    "unsqueeze",
    "view",
    "unflatten",
    "chunk",
    "unbind",
    "_unsafe_view",
    "lift_fresh",
    "as_strided",
    "narrow",
    "movedim",
)


def calls(step: Callable[[], Any]) -> Counter[str]:
    """Operations that `step()` dispatches and that compute or copy: name -> how often. Views are left out."""
    seen = _Calls()
    with torch.no_grad(), seen:
        step()
    return Counter({name: count for name, count in seen.names.items() if name not in _NO_KERNEL})


def products(counted: Counter[str]) -> int:
    """How many of these are products: of matrices, or an attention."""
    return sum(count for name, count in counted.items() if name in PRODUCTS or name.startswith(ATTENTION))


class _Calls(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.names: Counter[str] = Counter()

    def __torch_dispatch__(self, operation: Any, types: Any, positional: Any = (), named: Any = None) -> Any:
        self.names[operation._schema.name.removeprefix("aten::")] += 1
        return operation(*positional, **(named or {}))
