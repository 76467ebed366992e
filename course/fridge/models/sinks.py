"""What a bounded memory costs a model: losses over a text with a window, with and without attention sinks.

All tokens at once: a token that is held has the distance that a cache would give it. In the window distances are those
of the text; a sink's is counted in places of the cache, as Xiao et al. 2023 (StreamingLLM) have it.
"""

from collections.abc import Callable
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from fridge.models.llama import Llama, rope_table, rotate
from fridge.workbench.text import prose

PART = 256  # tokens whose logits are there at a time


class SinkCache(Protocol):
    """What `streamed` asks of a learner's cache."""

    def add(self, k: Tensor, v: Tensor) -> None:
        """[kv_heads, head_dim] each, not rotated."""
        ...

    def attend(self, q: Tensor, inv_freq: Tensor) -> Tensor:
        """[heads, head_dim] -> the same shape."""
        ...


def text_tokens(tokenizer: Any, count: int) -> Tensor:
    """The first tokens of the library's prose, [count]."""
    return tokenizer(prose()[: 8 * count], return_tensors="pt")["input_ids"][0, :count]


@torch.no_grad()
def losses(model: Llama, tokens: Tensor, sinks: int, window: int) -> Tensor:
    """What the model loses at each token but the first, when its memory holds `sinks` first tokens and `window` last.

    Args:
        tokens: [n] ids.

    Returns:
        [n - 1], float32.
    """
    tokens = tokens.to(model.device)
    now = torch.arange(len(tokens), device=model.device)
    behind = now[:, None] - now
    is_sink = (now < sinks).expand(len(tokens), -1)
    held = (behind >= 0) & ((behind < window) | is_sink)
    moved = is_sink & (behind >= 0) & (now[:, None] >= sinks + window)  # its place is nearer than its position
    last = min(sinks + window, len(tokens)) - 1
    cos, sin = rope_table(now, model.inv_freq, model.dtype)
    cos_last, sin_last = rope_table(torch.full_like(now, last), model.inv_freq, model.dtype)

    def attend(_: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        groups = q.shape[1] // k.shape[1]
        k, v = (rotate(k, cos, sin).repeat_interleave(groups, 1), v.repeat_interleave(groups, 1))
        scores = rotate(q, cos, sin) @ k.transpose(2, 3)
        if bool(moved.any()):
            scores = torch.where(moved, rotate(q, cos_last, sin_last) @ k.transpose(2, 3), scores)
        scores = scores.mul_(q.shape[-1] ** -0.5).masked_fill_(~held, -torch.inf)
        return scores.softmax(-1) @ v

    return _lost(model, model.model(tokens[None], attend)[0], tokens)


@torch.no_grad()
def streamed(model: Llama, tokens: Tensor, make_cache: Callable[[], SinkCache]) -> Tensor:
    """The same losses, token by token, with a cache of a learner's in each layer."""
    tokens = tokens.to(model.device)
    caches = [make_cache() for _ in range(model.config.layers)]

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        caches[layer].add(k[0, :, 0], v[0, :, 0])
        return caches[layer].attend(q[0, :, 0], model.inv_freq)[None, :, None]

    hidden = torch.cat([model.model(token.view(1, 1), attend)[0] for token in tokens])
    return _lost(model, hidden, tokens)


def _lost(model: Llama, hidden: Tensor, tokens: Tensor) -> Tensor:
    parts = zip(hidden[:-1].split(PART), tokens[1:].split(PART), strict=True)
    return torch.cat([F.cross_entropy(model.lm_head(h).float(), t, reduction="none").cpu() for h, t in parts])
