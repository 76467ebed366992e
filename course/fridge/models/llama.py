"""A Llama forward pass short enough to read in one sitting, which takes any cache that follows the `Cache` protocol.

Modules and weights are named as in transformers' `LlamaForCausalLM`, so a checkpoint's tensors load as they are and
the logits agree with transformers' to 1e-4 in float32. Architecture: Touvron et al. 2023 (RMSNorm, RoPE, SwiGLU),
Ainslie et al. 2023 (grouped-query attention).
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoConfig, PreTrainedConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from fridge.weights.checkpoint import load_into
from fridge.weights.model_folder import MODEL_TYPES

SUPPORTED_ROPE_TYPES = ("default", "linear", "llama3")  # the kinds that change frequencies and nothing else

Attention = Callable[[Tensor, Tensor, Tensor], Tensor]
Rope = Callable[[Tensor, int, float], Tensor]
Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]


class Cache(Protocol):
    """What the model asks of a KV cache. `len()` and `update` are all it uses."""

    def __len__(self) -> int:
        """Positions that every layer holds; the next token's position."""
        ...

    def update(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store new keys and values; return all that the layer holds.

        Args:
            layer: index of the decoder layer.
            k, v: [batch, kv_heads, new, head_dim], the keys already rotated.

        Returns:
            Keys and values, [batch, kv_heads, length + new, head_dim] each.
        """
        ...


@dataclass(frozen=True)
class LlamaConfig:
    """The numbers that fix a Llama's shapes."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-5
    attention_bias: bool = False  # on q, k and v
    tied_embeddings: bool = True
    output_bias: bool = False  # on the attention's output

    @classmethod
    def from_transformers(cls, config: PreTrainedConfig) -> "LlamaConfig":
        """Read a transformers config. Raises ValueError for an architecture with other parts than ours."""
        if config.model_type not in MODEL_TYPES:
            raise ValueError(
                f"fridge.models.llama reads {', '.join(MODEL_TYPES)} checkpoints, and this one is a "
                f"{config.model_type!r}. Set FRIDGE_MODEL to one of those, HuggingFaceTB/SmolLM2-135M for example."
            )
        if config.hidden_act != "silu" or getattr(config, "use_sliding_window", False):
            raise ValueError(
                f"fridge.models.llama has SwiGLU and full attention only; this {config.model_type} has hidden_act="
                f"{config.hidden_act!r}, use_sliding_window={getattr(config, 'use_sliding_window', False)}."
            )
        bias = getattr(config, "attention_bias", False)
        head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return cls(
            vocab_size=config.vocab_size,
            hidden_size=config.hidden_size,
            intermediate_size=config.intermediate_size,
            layers=config.num_hidden_layers,
            heads=config.num_attention_heads,
            kv_heads=config.num_key_value_heads,
            head_dim=head_dim,
            rope_theta=config.rope_parameters["rope_theta"],
            norm_eps=config.rms_norm_eps,
            # Qwen2 has biases on q, k and v and no field that says so.
            attention_bias=bias or config.model_type == "qwen2",
            tied_embeddings=config.tie_word_embeddings,
            output_bias=bias,
        )


class Llama(nn.Module):
    """A decoder-only language model. Call it with token ids; plug in your own attention, RoPE and cache.

    Attributes:
        config: the shapes.
        inv_freq: [head_dim / 2], the rotary frequencies in float32.
        learner_may: what a learner's code may use of it when a test in another process lends it.
    """

    learner_may = ("__call__",)

    def __init__(self, config: LlamaConfig, inv_freq: Tensor | None = None):
        super().__init__()
        self.config = config
        self.model = Decoder(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        if config.tied_embeddings:
            self.lm_head.weight = self.model.embed_tokens.weight
        if inv_freq is None:
            inv_freq = rope_frequencies(config.head_dim, config.rope_theta)
        self.inv_freq = inv_freq
        self._attention: Attention = attend_causally
        self._rope: Rope | None = None

    @classmethod
    def from_folder(cls, folder: Path, device: torch.device, dtype: torch.dtype) -> "Llama":
        """Load `config.json` and the safetensors files of a folder in Hugging Face's layout.

        Raises:
            ValueError: the architecture is not a supported one, or a tensor is missing, left over or of another shape.
        """
        hf_config = AutoConfig.from_pretrained(folder)
        config = LlamaConfig.from_transformers(hf_config)
        inv_freq = _frequencies_of(hf_config, config)
        with torch.device("meta"):  # shapes without memory: the checkpoint's own tensors are put in place
            model = cls(config, inv_freq)
        load_into(model, folder)
        if config.tied_embeddings:
            model.lm_head.weight = model.model.embed_tokens.weight
        return model.to(device=device, dtype=dtype).eval().requires_grad_(False)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.lm_head.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """The type of the weights and of the keys and values."""
        return self.lm_head.weight.dtype

    def with_parts(self, attention: Attention | None = None, rope: Rope | None = None) -> "Llama":
        """The same weights with other parts.

        Args:
            attention: (q, k, v) -> out, causal; q and out [batch, heads, new, head_dim], k and v
                [batch, kv_heads, length + new, head_dim].
            rope: (x, start, theta) -> x rotated; x [batch, heads, new, head_dim], its first token at position `start`.

        Raises:
            ValueError: a rope for a model whose frequencies don't follow from theta alone (Llama 3.1 and later).
        """
        if rope and not torch.equal(self.inv_freq, rope_frequencies(self.config.head_dim, self.config.rope_theta)):
            raise ValueError(
                "this model scales its RoPE frequencies, and a rope of (x, start, theta) can't know how. Plug in the "
                "attention alone, or set FRIDGE_MODEL to a model without rope scaling, HuggingFaceTB/SmolLM2-135M say."
            )
        other = copy.copy(self)
        other._attention = attention or self._attention
        other._rope = rope or self._rope
        return other

    @torch.no_grad()
    def forward(self, tokens: Tensor, cache: Cache | None = None, last_only: bool = False) -> Tensor:
        """Logits for tokens that follow what the cache holds.

        Args:
            tokens: [batch, new] ids, on any device; row by row they continue the cached sequences.
            cache: keys and values so far, extended by this call; None computes everything from these tokens alone.
            last_only: return the last position's logits alone (a prompt's other logits are large and unused).

        Returns:
            [batch, new, vocab_size], or [batch, 1, vocab_size] with `last_only`.
        """
        start = 0 if cache is None else len(cache)
        rope, theta = self._rope, self.config.rope_theta
        if rope is None:
            positions = torch.arange(start, start + tokens.shape[1], device=self.device)
            cos, sin = rope_table(positions, self.inv_freq, self.dtype)

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            if rope is None:
                q, k = rotate(q, cos, sin), rotate(k, cos, sin)
            else:
                q, k = rope(q, start, theta), rope(k, start, theta)
            if cache is not None:
                k, v = cache.update(layer, k, v)
            return self._attention(q, k, v)

        hidden = self.model(tokens.to(self.device), attend)
        return self.lm_head(hidden[:, -1:] if last_only else hidden)


class Decoder(nn.Module):
    """Embedding, the layers, the last norm."""

    def __init__(self, config: LlamaConfig):
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = nn.RMSNorm(config.hidden_size, eps=config.norm_eps)

    def forward(self, tokens: Tensor, attend: Attend) -> Tensor:
        """[batch, new] ids -> [batch, new, hidden_size]; `attend(layer, q, k, v)` rotates, remembers and attends."""
        x = self.embed_tokens(tokens)
        for index, layer in enumerate(self.layers):
            x = layer(x, index, attend)
        return self.norm(x)


class Layer(nn.Module):
    """One decoder layer: attention and a gated MLP, each behind a norm and beside a residual."""

    def __init__(self, config: LlamaConfig):
        super().__init__()
        self.input_layernorm = nn.RMSNorm(config.hidden_size, eps=config.norm_eps)
        self.self_attn = Projections(config)
        self.post_attention_layernorm = nn.RMSNorm(config.hidden_size, eps=config.norm_eps)
        self.mlp = GatedMlp(config)

    def forward(self, x: Tensor, index: int, attend: Attend) -> Tensor:
        """[batch, new, hidden_size] -> the same shape."""
        x = x + self.self_attn(self.input_layernorm(x), index, attend)
        return x + self.mlp(self.post_attention_layernorm(x))


class Projections(nn.Module):
    """The four matrices around attention. What happens between them is `attend`'s business."""

    def __init__(self, config: LlamaConfig):
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = config.heads, config.kv_heads, config.head_dim
        hidden, bias = config.hidden_size, config.attention_bias
        self.q_proj = nn.Linear(hidden, self.heads * self.head_dim, bias=bias)
        self.k_proj = nn.Linear(hidden, self.kv_heads * self.head_dim, bias=bias)
        self.v_proj = nn.Linear(hidden, self.kv_heads * self.head_dim, bias=bias)
        self.o_proj = nn.Linear(self.heads * self.head_dim, hidden, bias=config.output_bias)

    def forward(self, x: Tensor, index: int, attend: Attend) -> Tensor:
        """[batch, new, hidden_size] -> the same shape."""
        out = attend(
            index,
            self._split(self.q_proj(x), self.heads),
            self._split(self.k_proj(x), self.kv_heads),
            self._split(self.v_proj(x), self.kv_heads),
        )
        return self.o_proj(out.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor, heads: int) -> Tensor:
        # [batch, new, heads * head_dim] -> [batch, heads, new, head_dim]
        return x.unflatten(-1, (heads, self.head_dim)).transpose(1, 2)


class GatedMlp(nn.Module):
    """SwiGLU (Shazeer 2020): down(silu(gate(x)) * up(x))."""

    def __init__(self, config: LlamaConfig):
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, new, hidden_size] -> the same shape."""
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


def attend_causally(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """PyTorch's fused attention; the queries are the last positions of the keys.

    Args:
        q: [batch, heads, new, head_dim]
        k, v: [batch, kv_heads, length + new, head_dim]

    Returns:
        [batch, heads, new, head_dim]
    """
    new, total = q.shape[2], k.shape[2]
    if new == 1:
        return F.scaled_dot_product_attention(q, k, v, enable_gqa=True)
    if new == total:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    visible = torch.ones(new, total, dtype=torch.bool, device=q.device).tril(diagonal=total - new)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=visible, enable_gqa=True)


def rope_frequencies(head_dim: int, theta: float) -> Tensor:
    """[head_dim / 2] angles per position, float32 (Su et al. 2021, section 3.2.2)."""
    return 1.0 / theta ** (torch.arange(0, head_dim, 2, dtype=torch.float32, device="cpu") / head_dim)


def rope_table(positions: Tensor, inv_freq: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosines and sines for positions [..., new]: [..., new, head_dim] each."""
    angles = positions[..., None].float() * inv_freq.to(positions.device)
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the pairs (i, i + head_dim / 2) of x [..., new, head_dim], as Llama checkpoints on the hub expect."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin


def _frequencies_of(hf_config: PreTrainedConfig, config: LlamaConfig) -> Tensor:
    kind = hf_config.rope_parameters.get("rope_type", "default")
    if kind not in SUPPORTED_ROPE_TYPES:
        raise ValueError(
            f"fridge.models.llama knows the RoPE types {', '.join(SUPPORTED_ROPE_TYPES)}; this model has {kind!r}"
        )
    if kind == "default":
        return rope_frequencies(config.head_dim, config.rope_theta)
    inv_freq, _ = ROPE_INIT_FUNCTIONS[kind](hf_config, torch.device("cpu"))
    return inv_freq
