"""The model of blocks that unit 07 lends knows the right inputs of each layer, and whose the wrong ones are."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from fridge.testing import RecordingModel, Wrong


def recorded(block: object, x: Tensor) -> dict[str, Tensor]:
    """The inputs of a block's layers in one run."""
    seen: dict[str, Tensor] = {}
    handles = [
        layer.register_forward_pre_hook(lambda _, args, name=name: seen.update({name: args[0]}))
        for name, layer in block.layers.items()
    ]
    block(x)
    for handle in handles:
        handle.remove()
    return seen


def block_after_block(model: RecordingModel) -> None:
    """The right way."""
    x = model.x
    for block in model.blocks:
        for name, inputs in recorded(block, x).items():
            model.quantize(block.layers[name], inputs)
        x = block(x)


def all_from_the_float_model(model: RecordingModel) -> None:
    """Records everything, then rounds."""
    x, pairs = model.x, []
    for block in model.blocks:
        pairs += [(block.layers[name], inputs) for name, inputs in recorded(block, x).items()]
        x = block(x)
    for layer, inputs in pairs:
        model.quantize(layer, inputs)


def layer_after_layer(model: RecordingModel) -> None:
    """Runs the block anew for each layer."""
    x = model.x
    for block in model.blocks:
        for name, layer in block.layers.items():
            model.quantize(layer, recorded(block, x)[name])
        x = block(x)


def without_the_first_token(model: RecordingModel) -> None:
    """Drops a token of each sequence."""
    for name, inputs in recorded(model.blocks[0], model.x).items():
        model.quantize(model.blocks[0].layers[name], inputs[:, 1:])


def one_sequence(model: RecordingModel) -> None:
    """Drops sequences."""
    for name, inputs in recorded(model.blocks[0], model.x).items():
        model.quantize(model.blocks[0].layers[name], inputs[:1])


def anothers_inputs(model: RecordingModel) -> None:
    """Gives up what mix is given."""
    model.quantize(model.blocks[0].layers["up"], recorded(model.blocks[0], model.x)["mix"])


@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (4, 1), (3, 5)])
def test_block_after_block_is_right(shape: tuple[int, int]) -> None:
    """Guards against an oracle that runs the blocks otherwise than they run."""
    model = RecordingModel(3, shape, seed=4, only={1: ("up", "down")}, is_backward=True)
    block_after_block(model)
    assert sorted(name for name, _ in model.quantize.calls) == model.names
    assert len(model.names) == 10
    for name, inputs in model.quantize.calls:
        assert torch.allclose(inputs, model.right(name), atol=1e-5), name
        assert model.cause(name, inputs) == ""
    assert [block.sequences for block in model.blocks] == [2 * shape[0]] * 3
    assert model.hooks == 0


@pytest.mark.parametrize(
    ("way", "words"),
    [
        (all_from_the_float_model, "before anything was rounded"),
        (layer_after_layer, "in one pass"),
        (without_the_first_token, "the first of each sequence"),
        (one_sequence, "all sequences count"),
        (anothers_inputs, "inputs of mix"),
    ],
)
def test_whose_the_wrong_inputs_are(way: Callable[[RecordingModel], None], words: str) -> None:
    """Guards against a cause that names another mistake, and against one that is never told."""
    model = RecordingModel(2, seed=1)
    way(model)
    causes = {model.cause(name, inputs) for name, inputs in model.quantize.calls} - {""}
    assert len(causes) == 1
    assert words in causes.pop()


def test_seeds_and_rounding_make_a_difference() -> None:
    """Guards against weights that rounding leaves as they are, by which all ways would be right."""
    model, other = RecordingModel(2, seed=1), RecordingModel(2, seed=2)
    assert not torch.equal(model.x, other.x)
    block = model.blocks[0]
    before = block(model.x)
    for layer in block.layers.values():
        model.quantize(layer, torch.zeros(2, layer.in_features))
    assert (block(model.x) - before).abs().max() > 0.1


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda model: model.blocks[0](model.x[0]), r"block 0 is given\n.*\[batch, tokens, 6\].*\n.*shape \[5, 6\]"),
        (lambda model: model.blocks[1](None), "block 1 is given"),
        (lambda model: model.blocks[0](model.x.int()), "torch.int32"),
        (lambda model: model.quantize("mix", model.x), r"layer given to quantize(?s:.*)got:      'mix'"),
        (lambda model: model.quantize(model.layers[0], [model.x]), r"block 0, mix\n.*one tensor \[.., 6\]"),
        (lambda model: model.quantize(model.layers[1], model.x), "inputs given to quantize for block 0, out"),
        (lambda model: model.quantize(model.layers[0], model.x[0, 0]), r"shape \[6\]"),
        (lambda model: model.layers[0].register_forward_pre_hook(None), "hook for block 0, mix"),
    ],
)
def test_odd_arguments(call: Callable[[RecordingModel], object], words: str) -> None:
    """Guards against a test's own error in the place of words about the learner's argument."""
    with pytest.raises(Wrong, match=words):
        call(RecordingModel(2))


def test_what_a_hook_returns_takes_the_inputs_place() -> None:
    """Guards against accepting in the test what changes the real model, and against refusing the input itself."""
    model = RecordingModel(1)
    layer = model.layers[0]
    before = model.blocks[0](model.x)
    handle = layer.register_forward_pre_hook(lambda _, args: args)
    assert torch.equal(model.blocks[0](model.x), before)
    handle.remove()
    handle.remove()
    layer.register_forward_pre_hook(lambda _, args: 2 * args[0])
    with pytest.raises(Wrong, match=r"hook of block 0, mix returns\n.*None\n.*\n.*takes the input's place"):
        model.blocks[0](model.x)


def test_a_layer_that_can_not_be_rounded() -> None:
    """Guards against a failure that comes at another call, or leaves a trace as if the layer had been rounded."""
    model = RecordingModel(1, fails_at=1)
    model.quantize(model.layers[0], torch.zeros(1, 6))
    with pytest.raises(ValueError, match="block 0, out can't be rounded"):
        model.quantize(model.layers[1], torch.zeros(1, 4))
    assert [name for name, _ in model.quantize.calls] == ["block 0, mix"]


def test_endless_runs_end() -> None:
    """Guards against a learner's loop that runs a block for ever."""
    model = RecordingModel(1, (250, 1))
    for _ in range(2):
        model.blocks[0](model.x)
    with pytest.raises(Wrong, match="sequences that block 0 reads"):
        model.blocks[0](model.x)
