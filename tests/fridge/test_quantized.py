"""fridge.quantization.quantized: other layers in a model, and what they hold."""

import torch
from torch import nn

from fridge.quantization import quantized
from fridge.testing import tiny_llama

TOKENS = torch.tensor([[5, 9, 2, 61]])
NAMES_OF_ONE_LAYER = 7  # q, k, v, o, gate, up, down


def test_linears_are_all_but_the_head():
    """Guards against quantizing the head, which bitsandbytes leaves alone too: sizes and perplexities would differ."""
    names = [name for name, _ in quantized.linears(tiny_llama())]
    assert len(names) == 2 * NAMES_OF_ONE_LAYER
    assert not any("head" in name for name in names)


def test_swap_leaves_the_model_as_it_is_and_shares_the_rest():
    """Guards against a copy of 500 MB of embeddings for each format, and against formats that pile up in one model."""
    model = tiny_llama()
    before = model(TOKENS)
    other = quantized.swap(model, lambda linear: nn.Linear(linear.in_features, linear.out_features, bias=False))
    assert torch.equal(model(TOKENS), before)
    assert not torch.equal(other(TOKENS), before)
    assert other.lm_head.weight is model.lm_head.weight
    assert other.model.embed_tokens.weight is model.model.embed_tokens.weight
    assert other.lm_head.weight.data_ptr() == other.model.embed_tokens.weight.data_ptr()  # still tied


def test_swap_takes_any_callable():
    """A learner's layer may be no nn.Module, and in grading it is a proxy: only calls may be needed."""
    model = tiny_llama()
    other = quantized.swap(model, lambda linear: lambda x: linear(x))
    assert torch.equal(other(TOKENS), model(TOKENS))


def test_round_trip_changes_the_weights_and_nothing_else():
    """Guards against lost biases and against a weight that is changed in place in the original."""
    model = tiny_llama()
    before = model(TOKENS)
    assert torch.equal(quantized.round_trip(model, lambda w: w.clone())(TOKENS), before)
    halved = quantized.round_trip(model, lambda w: w.half())
    weights = [layer.weight for _, layer in quantized.linears(halved)]
    assert all(w.dtype == torch.float32 for w in weights)
    assert any(not torch.equal(w, v.weight) for w, (_, v) in zip(weights, quantized.linears(model), strict=True))
    assert torch.equal(model(TOKENS), before)


def test_round_trip_keeps_biases():
    """Qwen2 has biases on q, k and v."""
    model = nn.Sequential(nn.Linear(3, 2))
    x = torch.ones(1, 3)
    assert torch.equal(quantized.round_trip(model, lambda w: w)(x), model(x))


def test_stored_bytes_counts_each_memory_once():
    """Guards against counting tied weights twice and against missing tensors kept in plain attributes."""
    module = nn.Module()
    module.a = nn.Parameter(torch.zeros(10))
    module.b = module.a
    module.view = module.a[2:4]
    module.register_buffer("codes", torch.zeros(7, dtype=torch.uint8))
    module.kept = {"list": [torch.zeros(3)], "tuple": (torch.zeros(2, dtype=torch.int8), "no tensor")}
    assert quantized.stored_bytes(module) == 40 + 7 + 12 + 2


def test_inputs_of_are_what_the_layers_were_given():
    """Guards against hooks that stay behind, and against batch and position in two dimensions."""
    model = tiny_llama()
    seen = quantized.inputs_of(model, TOKENS)
    assert set(seen) == {name for name, _ in quantized.linears(model)}
    first = model.model.layers[0]
    expected = first.input_layernorm(model.model.embed_tokens(TOKENS))[0]
    assert torch.allclose(seen["model.layers.0.self_attn.q_proj"], expected)
    assert not any(module._forward_pre_hooks for module in model.modules())
