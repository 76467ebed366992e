"""A decode step on static buffers, which `torch.compile` takes as a whole: one token, a cache of fixed length, no sync.

Every shape is the same at each step, and the position is a tensor: the compiler sees one graph, and compiles once.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fridge.fusion.merged import Merge, weights_of
from fridge.models.llama import Llama, rope_table, rotate


class StaticStep:
    """Call it with a token's id and its position, tensors [1]: the next token's logits, [vocab_size].

    Args:
        llama: whose weights are used.
        places: positions that the cache has room for.
        merge, layer: of `MergedLlama`; None: the seven products of a layer as they are.
    """

    def __init__(
        self, llama: Llama, places: int, merge: Merge | None = None, layer: Callable[..., Tensor] | None = None
    ):
        self.config, self._llama = llama.config, llama
        self._layer = layer or _layer
        self._layers: list[dict[str, Any]] = [(merge or dict)(weights_of(one)) for one in llama.model.layers]
        shape = (len(self._layers), 1, self.config.kv_heads, places, self.config.head_dim)
        self._keys, self._values = torch.zeros(shape), torch.zeros(shape)
        self._places = torch.arange(places)
        heads, kv_heads, size = self.config.heads, self.config.kv_heads, self.config.head_dim
        self._sizes = (heads * size, kv_heads * size, kv_heads * size)

    @torch.no_grad()
    def __call__(self, token: Tensor, position: Tensor) -> Tensor:
        """One step; keys and values of this position are written."""
        llama = self._llama
        cos, sin = rope_table(position, llama.inv_freq, torch.float32)
        seen = (self._places <= position)[None, None, None]
        x = llama.model.embed_tokens(token)
        for index, weights in enumerate(self._layers):
            keys, values = self._keys[index], self._values[index]

            def attend(q: Tensor, k: Tensor, v: Tensor, keys: Tensor = keys, values: Tensor = values) -> Tensor:
                q, k, v = (part.view(1, -1, 1, self.config.head_dim) for part in (q, k, v))
                keys.index_copy_(2, position, rotate(k, cos, sin))
                values.index_copy_(2, position, v)
                mixed = F.scaled_dot_product_attention(
                    rotate(q, cos, sin), keys, values, attn_mask=seen, enable_gqa=True
                )
                return mixed.view(1, -1)

            x = self._layer(x, weights, self._sizes, self.config.norm_eps, F.linear, attend)
        return llama.lm_head(llama.model.norm(x))[0]


def _layer(
    x: Tensor,
    weights: dict[str, Any],
    _: tuple[int, ...],
    eps: float,
    linear: Callable[..., Tensor],
    attend: Callable[..., Tensor],
) -> Tensor:
    # Seven products, as the model has them.
    h = F.rms_norm(x, x.shape[-1:], weights["input_norm"], eps)
    q, k, v = (linear(h, weights[name], weights[f"{name}_bias"]) for name in "qkv")
    x = x + linear(attend(q, k, v), weights["o"], weights["o_bias"])
    h = F.rms_norm(x, x.shape[-1:], weights["post_norm"], eps)
    return x + linear(F.silu(linear(h, weights["gate"])) * linear(h, weights["up"]), weights["down"])
