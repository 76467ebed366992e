"""Which layers of a decoder block share their inputs, and so AWQ's scale; and the clipping that AWQ adds to it.

Lin et al. 2023, "AWQ" (arXiv 2306.00978), section 3.2; the clipping is their released code's (`auto_clip`): not in the
paper's text, and half of its effect at three bits.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from fridge.models.llama import Llama, LlamaConfig
from fridge.quantization import grids
from fridge.quantization.decoder import Block, blocks_of

Run = Callable[[list[Block], Tensor, Callable[[nn.Linear, Tensor], None]], None]
Round = Callable[[Tensor, Tensor, Tensor], Tensor]

KEYS = ("qkv", "o", "gate_up", "down")  # as the exercise `fold` names them
_NAMES = {
    "self_attn.q_proj": "qkv",
    "self_attn.k_proj": "qkv",
    "self_attn.v_proj": "qkv",
    "self_attn.o_proj": "o",
    "mlp.gate_proj": "gate_up",
    "mlp.up_proj": "gate_up",
    "mlp.down_proj": "down",
}
RATIOS = tuple(1 - i / 20 for i in range(11))  # of a group's largest weights, from 1 to 0.5


@torch.no_grad()
def round_together(model: Llama, x: Tensor, run: Run, way: Round) -> None:
    """Round a model's layers by the inputs of the float model, all layers at once that read the same.

    Args:
        model: its weights are changed.
        x: [batch, tokens, hidden], what the first block is given.
        run: run(blocks, x, record) calls record(layer, inputs) for each layer: the exercise `quantize_model`.
        way: (weight [rows of all, columns], mean_abs [columns], hessian [columns, columns]) -> the weight, rounded. For
            o, mean_abs is the same for all query heads of a key-value head.
    """
    for block in blocks_of(model):
        seen: dict[nn.Linear, Tensor] = {}
        after = block(x)
        run([block], x, seen.__setitem__)
        for key, layers in sharing(block):
            inputs = seen[layers[0]].flatten(0, -2).float()
            mean_abs = inputs.abs().mean(0)
            if key == "o":
                mean_abs = tied(mean_abs, model.config)
            put_back(layers, way(stacked(layers), mean_abs, inputs.T @ inputs / len(inputs)))
        x = after


def sharing(block: Block) -> Iterator[tuple[str, list[nn.Linear]]]:
    """The layers that read the same inputs, under the key of their common scale."""
    for key in KEYS:
        yield key, [layer for name, layer in block.layers.items() if _NAMES[name] == key]


def stacked(layers: list[nn.Linear]) -> Tensor:
    """Their weights in one, float32: [rows of all, columns]."""
    return torch.cat([layer.weight.detach().float() for layer in layers])


@torch.no_grad()
def put_back(layers: list[nn.Linear], weight: Tensor) -> None:
    """What `stacked` gave, changed, into the layers' own weights."""
    for layer, part in zip(layers, weight.split([layer.out_features for layer in layers]), strict=True):
        layer.weight.copy_(part)


def tied(mean_abs: Tensor, config: LlamaConfig) -> Tensor:
    """The mean absolute inputs of o, [heads * head_dim], the same for all query heads of a key-value head.

    The scale of o goes into the rows of v, which has fewer heads.
    """
    heads = mean_abs.view(config.kv_heads, -1, config.head_dim)
    return heads.mean(1, keepdim=True).expand_as(heads).flatten()


def clipped(weight: Tensor, hessian: Tensor, bits: int, group_size: int | None = None) -> Tensor:
    """Round to nearest, each group of each row to the narrowed grid that has the smallest output error of its own.

    Args:
        weight: [rows, columns], perhaps scaled.
        hessian: [columns, columns], the mean of x xᵀ of the inputs, divided by the scales.

    Returns:
        [rows, columns], rounded; a weight beyond its grid gets the grid's end.
    """
    parts = []
    for group in grids.groups(weight.shape[1], group_size):
        part, own = weight[:, group], hessian[group, group]
        low, high = part.amin(1, keepdim=True), part.amax(1, keepdim=True)
        best, least = part, torch.full_like(low, torch.inf)
        for ratio in RATIOS:
            rounded = grids.fit(part.clamp(ratio * low, ratio * high), bits).round(part)
            error = part - rounded
            loss = ((error @ own) * error).sum(1, keepdim=True)
            best, least = torch.where(loss < least, rounded, best), torch.minimum(loss, least)
        parts.append(best)
    return torch.cat(parts, dim=1)
