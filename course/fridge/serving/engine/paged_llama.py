"""SmolLM2 and its relatives over a paged cache: `fridge.models.llama` with flat batches and fewer operations a layer.

The weights are those of a `fridge.models.llama.Llama`, rewritten once so that a step has less to do; the logits stay
the same:
- Q, K and V come from one product, gate and up from another. Logits are computed only where a token is chosen.
- RMSNorm is x / sqrt(mean(x^2) + eps) * weight. The weight, and the square root of the hidden size that turns the mean
  into a sum, are multiplied into the product that follows.
- RoPE turns the pairs (i, i + head_dim / 2). With Q's and K's outputs reordered so that partners are neighbours, a pair
  is a complex number, and turning it is one multiplication. Scores don't depend on the order.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from fridge.models.llama import Layer, Llama, LlamaConfig
from fridge.serving.engine.attention import paged_attention
from fridge.serving.engine.batch import Batch
from fridge.serving.engine.linears import PackedLinear
from fridge.serving.engine.paged_cache import PagedKVCache

Linear = Callable[[Tensor], Tensor]


class PagedLlama:
    """Call it with a batch and the cache: keys and values are written, logits [answers, vocab_size] returned."""

    def __init__(self, llama: Llama, make_linear: Callable[[Tensor], Linear] = PackedLinear):
        if llama.config.attention_bias or llama.config.output_bias:
            raise ValueError("the engine serves models without biases, SmolLM2 or Llama say; this one has some")
        if llama.device.type != "cpu" or llama.dtype != torch.float32:
            raise ValueError(f"the engine serves float32 models on the CPU, not {llama.dtype} on {llama.device}")
        self.config = llama.config
        self._inv_freq = llama.inv_freq
        self._embedding = llama.model.embed_tokens.weight
        self._layers = [_Layer(layer, llama.config, make_linear) for layer in llama.model.layers]
        self._head = make_linear(_with_norm(llama.lm_head.weight, llama.model.norm.weight))
        # As a tensor, for hypot: sqrt(sum(x^2) + hidden_size * eps) is the hypotenuse of the norm and this.
        self._eps = torch.tensor(llama.config.hidden_size * llama.config.norm_eps).sqrt()

    def __call__(self, batch: Batch, cache: PagedKVCache) -> Tensor:
        """One step."""
        heads, kv_heads = self.config.heads, self.config.kv_heads
        x = F.embedding(batch.tokens, self._embedding)
        angles = batch.positions[:, None, None] * self._inv_freq
        turns = torch.polar(torch.ones_like(angles), angles)  # [tokens, 1, head_dim / 2], complex
        for index, layer in enumerate(self._layers):
            qkv = layer.qkv(self._normalise(x)).unflatten(1, (-1, self.config.head_dim))
            q, k_and_v = qkv.split((heads, 2 * kv_heads), dim=1)
            torch.view_as_complex(qkv[:, : heads + kv_heads].unflatten(2, (-1, 2))).mul_(turns)
            cache.write(index, k_and_v, batch.slot_mapping)
            x += layer.out(paged_attention(q, cache, index, batch))
            gate, up = layer.gate_and_up(self._normalise(x)).chunk(2, dim=1)
            x += layer.down(F.silu(gate).mul_(up))
        return self._head(self._normalise(x.index_select(0, batch.answers)))

    def _normalise(self, x: Tensor) -> Tensor:
        # RMSNorm without its weight and the square root of the hidden size: both are in the next product.
        return x / torch.linalg.vector_norm(x, dim=1, keepdim=True).hypot_(self._eps)


class _Layer:
    """A layer's four products."""

    def __init__(self, layer: Layer, config: LlamaConfig, make_linear: Callable[[Tensor], Linear]):
        attention, mlp = layer.self_attn, layer.mlp
        q_and_k = torch.cat((attention.q_proj.weight, attention.k_proj.weight))
        qkv = torch.cat((_partners_side_by_side(q_and_k, config.head_dim), attention.v_proj.weight))
        gate_and_up = torch.cat((mlp.gate_proj.weight, mlp.up_proj.weight))
        self.qkv = make_linear(_with_norm(qkv, layer.input_layernorm.weight))
        self.out = make_linear(attention.o_proj.weight)
        self.gate_and_up = make_linear(_with_norm(gate_and_up, layer.post_attention_layernorm.weight))
        self.down = make_linear(mlp.down_proj.weight)


def _with_norm(weight: Tensor, norm: Tensor) -> Tensor:
    return weight * (norm * len(norm) ** 0.5)


def _partners_side_by_side(weight: Tensor, head_dim: int) -> Tensor:
    # [heads * head_dim, hidden]: rows i and i + head_dim / 2 of a head become rows 2i and 2i + 1
    return weight.unflatten(0, (-1, 2, head_dim // 2)).transpose(1, 2).flatten(0, 2)
