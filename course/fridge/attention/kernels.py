"""Triton as the course uses it: compiled where there is a GPU, elsewhere run by its own interpreter on the CPU.

`from fridge.attention.kernels import DEVICE, tl, triton` stands for Triton's own imports. The interpreter must be
chosen before Triton is imported, by the variable TRITON_INTERPRET; a choice of yours is left as it is. Where Triton
isn't installed, both names can still be used to define kernels, but not to run them.
"""

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from typing import Any

import torch

INSTALLED = importlib.util.find_spec("triton") is not None
ADVICE = "Triton is not installed here; it exists for Linux alone. There, type: pip install triton"


def _gpu_is_there() -> bool:
    # By the driver's library: asking CUDA itself would make it useless in processes that are forked from this one.
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    return torch.cuda.is_available()


if not _gpu_is_there():
    os.environ.setdefault("TRITON_INTERPRET", "1")
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"  # where a kernel's tensors must lie


class _Missing:
    """Stands for Triton: takes decorators and attributes, and says what is missing when a kernel is to run."""

    constexpr = Any

    def __getattr__(self, name: str) -> "_Missing":
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *args: Any, **options: Any) -> "_Missing":
        """A decorator, with or without options, of a function that won't run."""
        if args and not (len(args) == 1 and isinstance(args[0], Callable)):
            raise ModuleNotFoundError(ADVICE, name="triton")
        return self

    def __getitem__(self, grid: Any) -> "_Missing":
        raise ModuleNotFoundError(ADVICE, name="triton")


def _import_triton() -> tuple[Any, Any]:
    if not INSTALLED:
        return _Missing(), _Missing()
    library = importlib.import_module("triton.language")
    if INTERPRETED and type(library.cdiv).__name__ == "JITFunction":
        # Somebody imported it to compile (bitsandbytes does), and its own functions can't be interpreted any more.
        for name in [name for name in sys.modules if name.partition(".")[0] == "triton"]:
            if not name.startswith("triton._C"):  # compiled code, which can't be loaded twice
                del sys.modules[name]
        library = importlib.import_module("triton.language")
    return importlib.import_module("triton"), library


triton, tl = _import_triton()
