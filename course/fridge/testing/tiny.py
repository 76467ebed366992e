"""A Llama with random weights, small enough for a test: two layers, made in milliseconds, the same for a seed."""

import torch
from torch import Tensor

from fridge.models.llama import Cache, Llama, LlamaConfig
from fridge.testing.scripted import ids_fed, positions_held

TINY = LlamaConfig(
    vocab_size=64, hidden_size=32, intermediate_size=48, layers=2, heads=4, kv_heads=2, head_dim=8, rope_theta=100.0
)


class TinyLlama(Llama):
    """A `Llama` that says in words what it can't be fed, and isn't fed more than a test needs."""

    def forward(self, tokens: Tensor, cache: Cache | None = None, last_only: bool = False) -> Tensor:
        """As Llama's. Raises Wrong for tokens of another shape or kind, too many, or outside the vocabulary."""
        positions_held(cache)
        return super().forward(ids_fed(tokens, last_only, None, self.config.vocab_size), cache, last_only)


def tiny_llama(seed: int = 0) -> Llama:
    """Config `TINY`, float32, on the CPU. The weights are large enough for every position to matter."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):  # nn.Linear draws its first weights from the global generator
        model = TinyLlama(TINY).eval().requires_grad_(False)
    for name, weight in sorted(model.named_parameters()):
        scale = 1.0 if "norm" in name or "embed" in name else weight.shape[-1] ** -0.5
        weight.copy_(torch.randn(weight.shape, generator=generator) * scale)
    return model


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    """Normal random numbers in float32 that are the same on every machine."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
