"""The cache that everyone writes first: concatenate. It is right, it copies everything at every step, and here it is
the yardstick that the learner's caches are compared with (transformers' `DynamicCache` works the same way)."""

import torch
from torch import Tensor


class ConcatCache:
    """Keys and values per layer, joined to the new ones by `torch.cat`. Follows `fridge.llama.Cache`.

    Attributes:
        learner_may: what a learner's code may use of it when a test in another process lends it.
    """

    learner_may = ("__len__", "update", "nbytes")

    def __init__(self) -> None:
        self._kv: dict[int, tuple[Tensor, Tensor]] = {}

    def __len__(self) -> int:
        """Positions that every layer holds."""
        return min((k.shape[2] for k, _ in self._kv.values()), default=0)

    def update(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Append k, v [batch, kv_heads, new, head_dim]; return all [batch, kv_heads, length + new, head_dim]."""
        if layer in self._kv:
            old_k, old_v = self._kv[layer]
            k, v = torch.cat((old_k, k), dim=2), torch.cat((old_v, v), dim=2)
        self._kv[layer] = k, v
        return k, v

    @property
    def nbytes(self) -> int:
        """Bytes of the keys and values held."""
        return sum(k.nbytes + v.nbytes for k, v in self._kv.values())


class RewindableCache(ConcatCache):
    """A `ConcatCache` that can take positions back, as speculative decoding needs it."""

    learner_may = (*ConcatCache.learner_may, "rewind")

    def rewind(self, length: int) -> None:
        """Forget the positions from `length` on, in every layer.

        Raises:
            ValueError: `length` is negative or larger than len(self); nothing has changed.
        """
        if not 0 <= length <= len(self):
            raise ValueError(f"can't rewind to {length}: the cache holds {len(self)} positions")
        self._kv = {layer: (k[:, :, :length], v[:, :, :length]) for layer, (k, v) in self._kv.items()}
