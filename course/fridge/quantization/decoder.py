"""A `Llama` as a list of blocks, each of which runs alone: what is rounded block after block is run block after block.

The blocks' layers are the model's own, so a weight that is changed here is changed in the model.
"""

import torch
from torch import Tensor, nn

from fridge.models.llama import Layer, Llama, attend_causally, rope_table, rotate
from fridge.quantization.quantized import linears


class Block:
    """One decoder layer, without a cache: every call starts at position 0.

    Attributes:
        layers: name -> linear layer, in the order in which they run.
    """

    def __init__(self, layer: Layer, inv_freq: Tensor):
        self.layers: dict[str, nn.Linear] = dict(linears(layer))
        self._layer, self._inv_freq = layer, inv_freq

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        """[batch, tokens, hidden] -> the same shape."""
        cos, sin = rope_table(torch.arange(x.shape[1], device=x.device), self._inv_freq, x.dtype)

        def attend(_: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return attend_causally(rotate(q, cos, sin), rotate(k, cos, sin), v)

        return self._layer(x, 0, attend)


def blocks_of(model: Llama) -> list[Block]:
    """The model's decoder layers, the first one first."""
    return [Block(layer, model.inv_freq) for layer in model.model.layers]


@torch.no_grad()
def embedded(model: Llama, tokens: Tensor) -> Tensor:
    """What the first block is given for tokens [batch, n]: [batch, n, hidden]."""
    return model.model.embed_tokens(tokens.to(model.device))


@torch.no_grad()
def logits_of(model: Llama, x: Tensor) -> Tensor:
    """What the model says of what its last block gave, [batch, n, hidden]: [batch, n, vocab_size]."""
    return model.lm_head(model.model.norm(x))
