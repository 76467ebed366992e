"""Attention's time and memory by length: the formula as it stands, PyTorch's fused back ends, and kernels of your own.

Each measurement is a plain dict, so that it can be printed, plotted and kept as JSON.
`fridge.attention.sweeps` takes many.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from fridge.workbench import measure as clock

MATMUL_SIDE = {"cuda": 8192, "cpu": 512}
REPEATS = {"cuda": (20, 5), "cpu": (3, 1)}  # measured calls, calls before them

Attend = Callable[
    [Tensor, Tensor, Tensor, bool], Tensor
]  # (q, k, v, causal) -> o, all [batch, heads, length, head_dim]

_BACKENDS = {
    "cpu": {"SDPA math": SDPBackend.MATH, "SDPA flash": SDPBackend.FLASH_ATTENTION},
    "cuda": {
        "SDPA math": SDPBackend.MATH,
        "SDPA memory-efficient": SDPBackend.EFFICIENT_ATTENTION,
        "SDPA flash": SDPBackend.FLASH_ATTENTION,
        "SDPA cuDNN": SDPBackend.CUDNN_ATTENTION,
    },
}


@dataclass(frozen=True)
class Setting:
    """What is the same for all lengths of a measurement; `backward` times the gradients instead of the output."""

    heads: int
    head_dim: int
    dtype: torch.dtype
    device: str
    causal: bool = False
    backward: bool = False
    batch: int = 1


def naive(q: Tensor, k: Tensor, v: Tensor, causal: bool = False) -> Tensor:
    """softmax(Q K^T / sqrt(head_dim)) V, with the whole table in memory. All [batch, heads, length, head_dim]."""
    scores = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5
    if causal:
        hidden = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
        scores = scores.masked_fill(hidden, -torch.inf)
    return scores.softmax(-1) @ v


def contestants(device: str) -> dict[str, Attend]:
    """The formula and SDPA's back ends for "cpu" or "cuda"; one that a machine lacks says so when it is measured."""
    return {"naive": naive, **{name: _fused(backend) for name, backend in _BACKENDS[device].items()}}


def best_dtype(device: str) -> torch.dtype:
    """The half-precision dtype that a device computes in: a T4 and older have no bfloat16."""
    native = device == "cuda" and torch.cuda.get_device_capability() >= (8, 0)
    return torch.bfloat16 if native else torch.float16 if device == "cuda" else torch.float32


def measure(name: str, attend: Attend, length: int, setting: Setting) -> dict[str, Any]:
    """Time and peak memory of one way at one length.

    Returns:
        The setting, "name", "length", "input_bytes" and "status": "ok", "out of memory" or "not supported". Beside "ok"
        stand "seconds" (a median), "peak_bytes" (beyond the inputs) and "tflops"; else there is a "reason".
    """
    shape = (setting.batch, setting.heads, length, setting.head_dim)
    row: dict[str, Any] = {**vars(setting), "dtype": str(setting.dtype).removeprefix("torch.")}
    row |= {"name": name, "length": length}
    try:
        generator = torch.Generator(setting.device).manual_seed(0)
        make = {"generator": generator, "device": setting.device, "dtype": setting.dtype}
        q, k, v, do = (torch.randn(shape, **make) for _ in range(4))
        row["input_bytes"] = 3 * q.numel() * q.element_size()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a back end that is missing explains itself in many lines
            row |= _measured(attend, (q, k, v), do, setting)
    except (RuntimeError, ValueError, NotImplementedError) as error:
        full = isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error)
        row |= {"status": "out of memory" if full else "not supported", "reason": str(error).split("\n")[0][:300]}
    else:
        row |= {"status": "ok", "tflops": operations(length, setting) / row["seconds"] / 1e12}
    if setting.device == "cuda":
        torch.cuda.empty_cache()
    return row


def operations(length: int, setting: Setting) -> float:
    """Floating-point operations, counted as in the papers: two products forwards, five backwards, half if causal."""
    forwards = 4 * setting.batch * setting.heads * length**2 * setting.head_dim
    return forwards * (0.5 if setting.causal else 1) * (2.5 if setting.backward else 1)


def table_bytes(row: dict[str, Any]) -> int:
    """Bytes of the table of scores, all heads, at the length of a measurement: what naive attention writes down."""
    return row["batch"] * row["heads"] * row["length"] ** 2 * getattr(torch, row["dtype"]).itemsize


def matmul_tflops(device: str, dtype: torch.dtype) -> float:
    """What a large square matrix product reaches: the peak that is really there."""
    side = MATMUL_SIDE[device]
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    return 2 * side**3 / clock.seconds(lambda: a @ b, *REPEATS[device]) / 1e12


def in_words(row: dict[str, Any]) -> str:
    """A measurement for a table: milliseconds and TFLOP/s, or why there are none."""
    if row["status"] != "ok":
        return row["status"]
    return f"{1000 * row['seconds']:.2f} ms, {row['tflops']:.3g} TFLOP/s"


def _fused(backend: SDPBackend) -> Attend:
    def attend(q: Tensor, k: Tensor, v: Tensor, causal: bool = False) -> Tensor:
        with sdpa_kernel(backend):
            return F.scaled_dot_product_attention(q, k, v, is_causal=causal)

    return attend


def _measured(attend: Attend, inputs: tuple[Tensor, ...], do: Tensor, setting: Setting) -> dict[str, Any]:
    repeats = REPEATS[setting.device]
    if not setting.backward:
        with torch.no_grad():
            time = clock.seconds(lambda: attend(*inputs, setting.causal), *repeats)
            return {"seconds": time, "peak_bytes": clock.peak_memory(lambda: attend(*inputs, setting.causal))}
    leaves = tuple(part.requires_grad_() for part in inputs)

    def gradients() -> tuple[Tensor, ...]:
        return torch.autograd.grad(attend(*leaves, setting.causal), leaves, do)

    return {"seconds": _backward_seconds(attend, leaves, do, setting), "peak_bytes": clock.peak_memory(gradients)}


def _backward_seconds(attend: Attend, leaves: tuple[Tensor, ...], do: Tensor, setting: Setting) -> float:
    o = attend(*leaves, setting.causal)
    return clock.seconds(lambda: torch.autograd.grad(o, leaves, do, retain_graph=True), *REPEATS[setting.device])
