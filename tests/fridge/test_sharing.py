"""Layers that read the same inputs, rounded together; AWQ's clipping."""

import pytest
import torch

from fridge.quantization import decoder, grids, sharing
from fridge.testing import TINY, randn, tiny_llama


def record(blocks, x, tell):
    """What the exercise `quantize_model` does of it: each layer's inputs, in one run."""
    for block in blocks:
        handles = [
            layer.register_forward_pre_hook(lambda layer, args: tell(layer, args[0])) for layer in block.layers.values()
        ]
        block(x)
        for handle in handles:
            handle.remove()


@pytest.fixture
def model():
    return tiny_llama()


def test_every_layer_has_its_share(model):
    """Guards against a layer that no key names, which would stay as it is without a word."""
    for block in decoder.blocks_of(model):
        together = [layer for _, layers in sharing.sharing(block) for layer in layers]
        assert {id(layer) for layer in together} == {id(layer) for layer in block.layers.values()}
        assert len(together) == len(block.layers)


def test_what_is_given_belongs_to_the_layers(model):
    """Inputs of the float model, whatever was rounded before: all the weights change, and no Hessian knows of it."""
    tokens = torch.arange(12).reshape(2, 6)
    x = decoder.embedded(model, tokens)
    expected, given = [], []
    for block in decoder.blocks_of(model):
        seen = {}
        record([block], x, seen.__setitem__)
        for _, layers in sharing.sharing(block):
            inputs = seen[layers[0]].flatten(0, 1)
            expected.append((sharing.stacked(layers), inputs.T @ inputs / len(inputs)))
        x = block(x)

    def way(weight, mean_abs, hessian):
        given.append((weight, hessian))
        assert mean_abs.shape == hessian.shape[:1]
        return weight + 1

    sharing.round_together(model, decoder.embedded(model, tokens), record, way)
    for (weight, hessian), (own_weight, own_hessian) in zip(given, expected, strict=True):
        assert torch.equal(weight, own_weight)
        torch.testing.assert_close(hessian, own_hessian)
    after = [sharing.stacked(layers) for block in decoder.blocks_of(model) for _, layers in sharing.sharing(block)]
    for weight, (before, _) in zip(after, expected, strict=True):
        torch.testing.assert_close(weight, before + 1)


def test_query_heads_of_one_key_value_head_are_tied():
    """The scale of o goes into v, which has fewer rows."""
    mean_abs = randn(TINY.heads * TINY.head_dim, seed=1).abs()
    heads = sharing.tied(mean_abs, TINY).view(TINY.kv_heads, -1, TINY.head_dim)
    assert heads.shape[1] > 1
    for query in range(heads.shape[1]):
        assert torch.equal(heads[:, query], heads[:, 0])
    assert heads.mean() == pytest.approx(float(mean_abs.mean()))


@pytest.mark.parametrize("group_size", [None, 5])
def test_clipping_costs_no_group_more_than_rounding(group_size):
    weight, x = randn(24, 12, seed=2), randn(40, 12, seed=3)
    hessian = x.T @ x / len(x)
    clipped = sharing.clipped(weight, hessian, 3, group_size)
    rounded = grids.round_to_nearest(weight, 3, group_size)
    gains = 0
    for group in grids.groups(12, group_size):
        own = hessian[group, group]
        losses = [((e := (w - weight)[:, group]) @ own * e).sum(1) for w in (clipped, rounded)]
        assert (losses[0] <= losses[1] + 1e-6).all()
        gains += int((losses[0] < losses[1] - 1e-6).sum())
    assert gains > 3
