"""Putting quantized layers into a model, and counting the memory that a model really holds.

Works for `fridge.models.llama.Llama` and for transformers' Llama alike: both name their modules the same way. The head
stays as it is, as it does in bitsandbytes' integration: it is tied to the embedding, and it decides over every token.
"""

import contextlib
import copy
import ctypes
import gc
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

HEAD = "lm_head"


class Plugged(nn.Module):
    """A module around any callable, so that it can take a layer's place: `y = call(x)`."""

    def __init__(self, call: Callable[[Tensor], Tensor]):
        super().__init__()
        self.held = (call,)  # in a tuple, which nn.Module doesn't look into

    def forward(self, x: Tensor) -> Tensor:
        """Whatever the callable makes of x."""
        return self.held[0](x)


def linears(model: nn.Module) -> Iterator[tuple[str, nn.Linear]]:
    """(name, layer) of every linear layer but the head, in the model's order."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and name != HEAD:
            yield name, module


def swap(model: nn.Module, make: Callable[[nn.Linear], Callable[[Tensor], Tensor]]) -> nn.Module:
    """A model with other linear layers, which shares everything else with the given one.

    Args:
        model: stays as it is.
        make: gets each linear layer but the head; returns what takes its place, a module or any callable.
    """
    shared = {id(tensor): tensor for tensor in _tensors(model)}
    other = copy.deepcopy(model, shared)  # modules are copied, the tensors in `shared` are not
    for name, linear in list(linears(other)):
        replacement = make(linear)
        parent, _, own_name = name.rpartition(".")
        if not isinstance(replacement, nn.Module):
            replacement = Plugged(replacement)
        setattr(other.get_submodule(parent), own_name, replacement)
    return other


def round_trip(model: nn.Module, through: Callable[[Tensor], Tensor]) -> nn.Module:
    """A model whose linear weights went through a format and back: `through(weight)`, of the same shape.

    It computes in floating point, so it shows a format's quality and says nothing about its size or speed.
    """

    def make(linear: nn.Linear) -> nn.Linear:
        with torch.device("meta"):
            other = nn.Linear(linear.in_features, linear.out_features, bias=linear.bias is not None)
        weight = through(linear.weight.detach()).to(linear.weight)
        other.weight = nn.Parameter(weight, requires_grad=False)
        if linear.bias is not None:
            other.bias = linear.bias
        return other

    return swap(model, make)


def stored_bytes(module: nn.Module) -> int:
    """Bytes of all memory behind the tensors that a module and its parts hold, each memory once.

    Looks at parameters, buffers and at plain attributes, also in lists, tuples and dicts.
    """
    storages = {}
    for tensor in _tensors(module):
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


def inputs_of(model: nn.Module, tokens: Tensor) -> dict[str, Tensor]:
    """What each linear layer but the head is given when the model reads tokens [1, n]: name -> x [n, in]."""
    seen: dict[str, Tensor] = {}

    def remember(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            seen[name] = arguments[0].detach().flatten(0, -2)

        return hook

    handles = [linear.register_forward_pre_hook(remember(name)) for name, linear in linears(model)]
    try:
        model(tokens)
    finally:
        for handle in handles:
            handle.remove()
    return seen


def tidy() -> None:
    """Give memory of deleted models back now, so that the next one doesn't come on top of it."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):  # a C library without it (musl) keeps less in the first place
            ctypes.CDLL(None).malloc_trim(0)


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    for part in module.modules():
        for value in vars(part).values():
            yield from _tensors_in(value)


def _tensors_in(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors_in(item)
