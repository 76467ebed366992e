"""A step that leaves Python: `torch.export` on static shapes, its program as plain data, and a whole model.

The program is a list of ATen operations, as ExecuTorch and other compilers for devices take it.
"""

import contextlib
import io
import logging
import math
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fridge.models.llama import Llama
from fridge.workbench import records

KEPT = Path(__file__).with_name("measurements") / "executorch.json"  # by solutions/11-edge/measure_executorch.py
AttendStep = Callable[..., tuple[Tensor, Tensor, Tensor]]
Program = dict[str, Any]
_GONE = ("device", "layout", "pin_memory", "memory_format")  # arguments that change no value
_CHECKS = (torch.ops.aten._assert_tensor_metadata.default, torch.ops.aten._assert_async.msg)  # compute nothing
_REASON = (
    "torch.export can't write this function down: it asks for a tensor's value, by int(), .item(), an if or a slice. "
    "A fake tensor has a shape and no values. It said: "
)


def attention_inputs(heads: int, kv_heads: int, head_dim: int, places: int) -> tuple[Tensor, ...]:
    """Inputs of exercise 5's shapes, by which its function is exported; their values don't matter."""
    buffer = torch.zeros(kv_heads, places, head_dim)
    q, k = torch.zeros(heads, head_dim), torch.zeros(kv_heads, head_dim)
    return q, k, k.clone(), buffer, buffer.clone(), torch.zeros(1, dtype=torch.int64), torch.ones(head_dim // 2)


def program(function: Callable[..., Any], inputs: Sequence[Tensor]) -> Program:
    """What `torch.export` writes down of a function, as plain data.

    Returns:
        "inputs": their names; "constants": name -> tensor; "nodes": a list of [name, operation, positional, named], in
        order, where {"of": name} is an earlier result, {"dtype": name} a dtype and {"number": "-inf"} one that JSON
        hasn't; "outputs": names.

    Raises:
        ValueError: it can't be exported, with the reason.
    """
    try:
        whole = _quietly(lambda: torch.export.export(_Module(function), tuple(inputs)).run_decompositions())
    except (NameError, AttributeError, TypeError):
        raise  # the function's own
    except Exception as error:
        raise ValueError(_REASON + str(error).strip().partition("\n")[0]) from None
    known = {one.arg.name: one for one in whole.graph_signature.input_specs}
    constants = {name: whole.constants[one.target] for name, one in known.items() if one.target in whole.constants}
    placeholders = [node.name for node in whole.graph.nodes if node.op == "placeholder"]
    nodes = [
        [node.name, _name_of(node.target), _plain(node.args), _plain(_that_matter(node.kwargs))]
        for node in whole.graph.nodes
        if node.op == "call_function" and node.target not in _CHECKS
    ]
    output = next(node for node in whole.graph.nodes if node.op == "output")
    return {
        "inputs": [name for name in placeholders if name not in constants],
        "constants": constants,
        "nodes": nodes,
        "outputs": [part.name for part in output.args[0]],
    }


class StaticModel(nn.Module):
    """A step of a whole Llama on static buffers, around a learner's attention.

    Call it with a token's id and its position, int64 [1], and the buffers of all layers: (logits, keys, values).
    """

    def __init__(self, llama: Llama, places: int, attend_step: AttendStep):
        super().__init__()
        self.llama, self.attend_step = llama, attend_step
        shape = (llama.config.layers, llama.config.kv_heads, places, llama.config.head_dim)
        self.buffers_shape = torch.Size(shape)

    def empty(self) -> tuple[Tensor, Tensor]:
        """Buffers of an empty cache."""
        return torch.zeros(self.buffers_shape), torch.zeros(self.buffers_shape)

    def forward(self, token: Tensor, position: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One step; the buffers that it returns hold this token, too."""
        new_keys, new_values = [], []

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            parts = (q[0, :, 0], k[0, :, 0], v[0, :, 0], keys[layer], values[layer], position, self.llama.inv_freq)
            out, own_keys, own_values = self.attend_step(*parts)
            new_keys.append(own_keys)
            new_values.append(own_values)
            return out[None, :, None]

        hidden = self.llama.model(token[None], attend)
        return self.llama.lm_head(hidden[0, 0]), torch.stack(new_keys), torch.stack(new_values)


def timed_export(step: StaticModel) -> tuple[torch.export.ExportedProgram, float]:
    """The whole model's program, and how many seconds it took to write it down."""
    begin = time.perf_counter()
    token = torch.zeros(1, dtype=torch.int64)
    whole = _quietly(lambda: torch.export.export(step, (token, token.clone(), *step.empty())))
    return whole, time.perf_counter() - begin


@torch.no_grad()
def apart(step: StaticModel, whole: torch.export.ExportedProgram, llama: Llama, tokens: Tensor) -> float:
    """The largest difference between the program's logits, position after position, and the model's own."""
    run, (keys, values) = whole.module(), step.empty()
    right, most = llama(tokens[None])[0], 0.0
    for position, token in enumerate(tokens):
        logits, keys, values = run(token[None], torch.tensor([position]), keys, values)
        most = max(most, float((logits - right[position]).abs().max()))
    return most


def by_executorch() -> dict[str, Any] | None:
    """What ExecuTorch made of the whole model's step, on which machine; None if nobody has measured it yet."""
    return records.read(KEPT, {}) or None


def _quietly(export: Callable[[], torch.export.ExportedProgram]) -> torch.export.ExportedProgram:
    # torch warns of parts of its own that will go; and a function that it can't write down it prints and logs whole, on
    # stderr, where what the function itself writes meanwhile is lost with it.
    before = logging.root.manager.disable
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore", FutureWarning)
        logging.disable(logging.CRITICAL)
        try:
            return export()
        finally:
            logging.disable(before)


class _Module(nn.Module):
    def __init__(self, function: Callable[..., Any]):
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(*inputs)


def _name_of(target: Any) -> str:
    return str(target) if isinstance(target, torch._ops.OpOverload) else target.__name__


def _that_matter(named: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in named.items() if name not in _GONE}


def _plain(value: Any) -> Any:
    if isinstance(value, torch.fx.Node):
        return {"of": value.name}
    if isinstance(value, torch.dtype):
        return {"dtype": str(value).removeprefix("torch.")}
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if type(value) is float and not math.isfinite(value):
        return {"number": str(value)}
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise ValueError(f"a program for a device has no {type(value).__name__} in it: {value}")
