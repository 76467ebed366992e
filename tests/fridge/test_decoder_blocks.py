"""A Llama run block after block says what it says in one piece."""

import torch

from fridge.quantization.decoder import blocks_of, embedded, logits_of
from fridge.testing import tiny_llama

TOKENS = torch.tensor([[5, 9, 2, 61, 33], [7, 7, 0, 12, 50]])


def test_block_after_block_is_the_model() -> None:
    """Guards against positions, masks or a last norm that differ from the model's own."""
    model = tiny_llama(seed=1)
    x = embedded(model, TOKENS)
    for block in blocks_of(model):
        x = block(x)
    assert torch.allclose(logits_of(model, x), model(TOKENS), atol=1e-5)


def test_layers_are_the_models_own_and_take_hooks() -> None:
    """Guards against copies: hooks on them never fire, and what is written into them is lost."""
    model = tiny_llama(seed=2)
    block = blocks_of(model)[1]
    assert list(block.layers) == [
        *(f"self_attn.{name}_proj" for name in "qkvo"),
        *(f"mlp.{name}_proj" for name in ("gate", "up", "down")),
    ]
    seen = []
    handle = block.layers["mlp.down_proj"].register_forward_pre_hook(lambda layer, args: seen.append(args[0].shape))
    model(TOKENS)
    handle.remove()
    assert seen == [(2, 5, 48)]
    before = model(TOKENS)
    block.layers["self_attn.v_proj"].weight.zero_()
    assert not torch.equal(model(TOKENS), before)
