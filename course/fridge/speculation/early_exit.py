"""A draft model cut out of the target: its first layers, then its last norm and its output matrix, without training.

The idea of leaving a network early is old; Elhoushi et al. 2024 (LayerSkip, arXiv 2404.16710) draft with it, after a
training that teaches the early layers to speak. An untrained model, as here, was never asked to.
"""

import copy
import dataclasses
from typing import TypeVar

import torch
from torch import Tensor, nn

from fridge.models.llama import Llama

Module = TypeVar("Module", bound=nn.Module)


def early_exit(model: Llama, layers: int) -> Llama:
    """The same weights, left after `layers` layers. No copy: both models share their memory.

    Raises:
        ValueError: the model hasn't so many layers, or none are asked for.
    """
    if not 1 <= layers <= model.config.layers:
        raise ValueError(f"can't leave after layer {layers}: the model has {model.config.layers}")
    decoder, short = _shallow(model.model), _shallow(model)
    decoder.layers = nn.ModuleList(list(model.model.layers)[:layers])
    short.model = decoder
    short.config = dataclasses.replace(model.config, layers=layers)
    return short


@torch.no_grad()
def agreement(model: Llama, tokens: list[int], replies_from: int, exits: list[int]) -> list[float]:
    """How often an early exit would name the token that the whole model names.

    Args:
        tokens: prompt and reply.
        replies_from: the reply's place in it; only its tokens count.
        exits: after how many layers to leave.

    Returns:
        A share for each exit, from one pass over the text.
    """
    states: list[Tensor] = []
    hooks = [layer.register_forward_hook(lambda _, __, out: states.append(out)) for layer in model.model.layers]
    try:
        model(torch.tensor([tokens]), last_only=True)
    finally:
        for hook in hooks:
            hook.remove()
    rows = slice(replies_from - 1, len(tokens) - 1)

    def named(layers: int) -> Tensor:
        return model.lm_head(model.model.norm(states[layers - 1][0, rows])).argmax(-1)

    whole = named(len(states))
    return [float((named(layers) == whole).float().mean()) for layers in exits]


def _shallow(module: Module) -> Module:
    other = copy.copy(module)  # nn.Module shares its table of submodules with its copy
    other.__dict__["_modules"] = dict(module._modules)
    return other
