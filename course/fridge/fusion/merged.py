"""SmolLM2 and its relatives with a learner's merged layers: four products in each, and everything else as it was."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fridge.models.llama import Cache, Layer, Llama, attend_causally, rope_table, rotate

Merge = Callable[[dict[str, Any]], dict[str, tuple[Tensor, Tensor | None]]]


class MergedLlama:
    """Call it as a `Llama`, for one sequence: logits of tokens that follow what the cache holds.

    Args:
        llama: whose weights are merged.
        merge: makes four products of a layer's seven.
        layer: (x, merged, sizes, eps, linear, attend) -> x after the layer, as exercise 5 has it.
    """

    def __init__(self, llama: Llama, merge: Merge, layer: Callable[..., Tensor]):
        self.config, self._llama, self._layer = llama.config, llama, layer
        self._merged = [merge(weights_of(one)) for one in llama.model.layers]
        heads, kv_heads, size = self.config.heads, self.config.kv_heads, self.config.head_dim
        self._sizes = (heads * size, kv_heads * size, kv_heads * size)

    @torch.no_grad()
    def __call__(self, tokens: Tensor, cache: Cache | None = None, last_only: bool = False) -> Tensor:
        """[1, new] ids -> [1, new, vocab_size], or [1, 1, vocab_size]."""
        llama, start = self._llama, 0 if cache is None else len(cache)
        positions = torch.arange(start, start + tokens.shape[1], device=llama.device)
        cos, sin = rope_table(positions, llama.inv_freq, llama.dtype)
        x = llama.model.embed_tokens(tokens[0].to(llama.device))
        for index, merged in enumerate(self._merged):

            def attend(q: Tensor, k: Tensor, v: Tensor, index: int = index) -> Tensor:
                q, k, v = (part.unflatten(1, (-1, self.config.head_dim)).transpose(0, 1)[None] for part in (q, k, v))
                q, k = rotate(q, cos, sin), rotate(k, cos, sin)
                if cache is not None:
                    k, v = cache.update(index, k, v)
                return attend_causally(q, k, v)[0].transpose(0, 1).flatten(1)

            x = self._layer(x, merged, self._sizes, self.config.norm_eps, F.linear, attend)
        return llama.lm_head(llama.model.norm(x[-1:] if last_only else x))[None]


def weights_of(layer: Layer) -> dict[str, Any]:
    """A layer's weights and biases by the names of exercise 5; None where a product has no bias."""
    attention, mlp = layer.self_attn, layer.mlp
    linears = {
        "q": attention.q_proj,
        "k": attention.k_proj,
        "v": attention.v_proj,
        "o": attention.o_proj,
        "gate": mlp.gate_proj,
        "up": mlp.up_proj,
        "down": mlp.down_proj,
    }
    weights = {name: linear.weight for name, linear in linears.items()}
    biases = {f"{name}_bias": linears[name].bias for name in "qkvo"}
    norms = {"input_norm": layer.input_layernorm.weight, "post_norm": layer.post_attention_layernorm.weight}
    return weights | biases | norms
