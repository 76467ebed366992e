"""The cache that everyone writes first: concatenate. It is right, it copies everything at every step, and here it is
the yardstick that the learner's caches are compared with (transformers' `DynamicCache` works the same way)."""

import torch
from torch import Tensor

from fridge.workbench import arguments


class ConcatCache:
    """Keys and values per layer, joined to the new ones by `torch.cat`. Follows `fridge.models.llama.Cache`.

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
        """Append k, v [batch, kv_heads, new, head_dim]; return all [batch, kv_heads, length + new, head_dim].

        Raises:
            ValueError: no such layer can be, or k and v are no tensors of one shape that the others of the layer allow.
        """
        number = arguments.whole(layer)
        if number is None or number < 0:
            raise ValueError(f"layer must be a number, 0 or more, not {arguments.said(layer)}")
        old_k, old_v = self._kv.get(number, (k, v))
        for name, value, old in (("k", k, old_k), ("v", v, old_v)):
            if arguments.tensor(value) is None or value.ndim != 4 or _sides(value) != _sides(old):
                said = arguments.said(value)
                raise ValueError(f"{name} must be a tensor [batch, kv_heads, new, head_dim], as before, not {said}")
        if k.shape[2] != v.shape[2]:
            raise ValueError(f"k and v must have as many positions, not {k.shape[2]} and {v.shape[2]}")
        if number in self._kv:
            k, v = torch.cat((old_k, k), dim=2), torch.cat((old_v, v), dim=2)
        self._kv[number] = k, v
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
        number = arguments.whole(length)
        if number is None or not 0 <= number <= len(self):
            said = arguments.said(length)
            raise ValueError(f"can't rewind to length {said}: the cache holds {len(self)} positions")
        self._kv = {layer: (k[:, :, :number], v[:, :, :number]) for layer, (k, v) in self._kv.items()}


def _sides(value: Tensor) -> tuple:
    """What all pieces of a layer have in common."""
    return (*value.shape[:2], *value.shape[3:], value.dtype)
