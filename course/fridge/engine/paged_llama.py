"""SmolLM2 and its relatives over a paged cache: `fridge.llama` with flat batches and fewer, larger matrix products.

The weights are those of a `fridge.llama.Llama`. Q, K and V come from one product, gate and up from another, so that a
layer reads its weights in four pieces instead of seven; logits are computed only where a token is chosen.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from fridge.engine.attention import paged_attention
from fridge.engine.batch import Batch
from fridge.engine.linears import PackedLinear
from fridge.engine.paged_cache import PagedKVCache
from fridge.llama import Layer, Llama, rope_table, rotate

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
        self._layers = [_Layer(layer, llama.config.norm_eps, make_linear) for layer in llama.model.layers]
        self._norm = llama.model.norm.weight
        self._head = make_linear(llama.lm_head.weight)

    def __call__(self, batch: Batch, cache: PagedKVCache) -> Tensor:
        """One step."""
        config = self.config
        x = F.embedding(batch.tokens, self._embedding)
        cos, sin = (part[:, None] for part in rope_table(batch.positions, self._inv_freq, x.dtype))
        group = config.heads // config.kv_heads
        for index, layer in enumerate(self._layers):
            qkv = layer.qkv(x).unflatten(1, (-1, config.head_dim))  # [tokens, heads + 2 kv_heads, head_dim]
            q_and_k, v = qkv.split((config.heads + config.kv_heads, config.kv_heads), dim=1)
            q, k = rotate(q_and_k, cos, sin).split((config.heads, config.kv_heads), dim=1)
            cache.write(index, k.transpose(0, 1), v.transpose(0, 1), batch.slot_mapping)
            mixed = paged_attention(q.unflatten(1, (config.kv_heads, group)), cache, index, batch)
            x = layer.after_attention(x, mixed)
        x = x.index_select(0, batch.answers)
        return self._head(F.rms_norm(x, x.shape[1:], self._norm, config.norm_eps))


class _Layer:
    """The parts of a layer before and after attention."""

    def __init__(self, layer: Layer, eps: float, make_linear: Callable[[Tensor], Linear]):
        attention, mlp = layer.self_attn, layer.mlp
        self._norm_1, self._norm_2 = layer.input_layernorm.weight, layer.post_attention_layernorm.weight
        self._eps = eps
        self._qkv = make_linear(torch.cat((attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight)))
        self._out = make_linear(attention.o_proj.weight)
        self._gate_and_up = make_linear(torch.cat((mlp.gate_proj.weight, mlp.up_proj.weight)))
        self._down = make_linear(mlp.down_proj.weight)

    def qkv(self, x: Tensor) -> Tensor:
        return self._qkv(F.rms_norm(x, x.shape[1:], self._norm_1, self._eps))

    def after_attention(self, x: Tensor, mixed: Tensor) -> Tensor:
        x = x + self._out(mixed)
        gate, up = self._gate_and_up(F.rms_norm(x, x.shape[1:], self._norm_2, self._eps)).chunk(2, dim=1)
        return x + self._down(F.silu(gate).mul_(up))
