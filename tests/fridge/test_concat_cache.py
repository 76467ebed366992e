"""The concatenating cache, against slices of one tensor."""

import torch

from fridge.models.caches import ConcatCache
from fridge.testing import randn


def test_returns_all_that_was_put_in_by_layer() -> None:
    """Guards against layers that share storage, values in the place of keys, and pieces in another order."""
    whole = randn(3, 2, 2, 4, 17, 8)  # [layer, k or v, batch, heads, seq, head_dim]
    cache, start = ConcatCache(), 0
    assert (len(cache), cache.nbytes) == (0, 0)
    for new in (5, 1, 1, 10):
        for layer in (2, 0, 1):
            k, v = cache.update(layer, *whole[layer, :, :, :, start : start + new])
            assert torch.equal(k, whole[layer, 0, :, :, : start + new])
            assert torch.equal(v, whole[layer, 1, :, :, : start + new])
        start += new
        assert len(cache) == start
    assert cache.nbytes == whole.nbytes


def test_length_counts_positions_that_all_layers_hold() -> None:
    """Guards against positions that move on while a forward pass is half done."""
    piece = randn(1, 1, 4, 2)
    cache = ConcatCache()
    for layer in (0, 1):
        cache.update(layer, piece, piece)
    cache.update(0, piece, piece)
    assert len(cache) == 4
