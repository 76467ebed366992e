"""Codes in a checkpoint's layout, against plain loops over bits, and there and back."""

import json

import pytest
import torch

from fridge.quantization import grids, packed, quantized
from fridge.testing import tiny_llama


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 8])
def test_codes_lie_one_after_another_from_the_lowest_bit(bits):
    """Guards against three bits in tens to a word, two bits lost, and against the highest bit first."""
    codes = torch.randint(2**bits, (3, 64), dtype=torch.int32)
    words = packed.pack(codes, bits)
    assert words.dtype == torch.int32
    assert words.shape == (3, 2 * bits)
    for row, line in zip(codes.tolist(), words.tolist(), strict=True):
        stream = sum((word % 2**32) << (32 * place) for place, word in enumerate(line))
        assert row == [stream >> (bits * place) & (2**bits - 1) for place in range(64)]
    assert torch.equal(packed.unpack(words, bits), codes)


def test_what_does_not_fill_words_is_refused():
    """Guards against a layer that loses its last codes."""
    with pytest.raises(ValueError, match="don't fill"):
        packed.pack(torch.zeros(1, 33), 4)
    with pytest.raises(ValueError, match="whole groups"):
        packed.layer_tensors(torch.zeros(32, 96), 4, 64)


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_a_grid_is_found_from_its_values(bits):
    """Guards against a grid that only rounding to nearest gives, which uses both of its ends; and one-sided rows."""
    scale, zero_point = torch.rand(500, 1) + 0.01, torch.randint(2**bits, (500, 1)).float()
    codes = torch.randint(2**bits, (500, 12))
    values = (codes - zero_point) * scale
    values[0], values[1] = 0.0, 2.5  # no scale to be found; one value
    found = packed.grid_of(values, bits)
    assert torch.equal(found.zero_point, found.zero_point.round().clamp(0, 2**bits - 1))
    assert found.codes(values).max() < 2**bits
    torch.testing.assert_close(found.round(values), values, rtol=1e-3, atol=0)


def test_values_on_no_grid_are_refused():
    """Guards against weights that were never rounded, and against a grid of more bits."""
    with pytest.raises(ValueError, match="row 1 is on no grid of 3 bits"):
        packed.grid_of(torch.tensor([[1.0, 2.0, 3.0], [1.0, 2.0, 2.3]]), 3)
    with pytest.raises(ValueError, match="no grid of 2 bits"):
        packed.grid_of(torch.arange(8.0)[None], 2)


def test_a_layer_there_and_back():
    """Guards against rows for columns, and one group's scale for another's."""
    weight = grids.round_to_nearest(torch.randn(64, 192), 3, 96)
    tensors = packed.layer_tensors(weight, 3, 96)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    assert shapes == {"qweight": (18, 64), "qzeros": (2, 6), "scales": (2, 64)}
    torch.testing.assert_close(packed.weight_of(tensors, 3), weight, rtol=1e-3, atol=0)


def test_a_model_there_and_back(tmp_path):
    """Guards against a layer that is missing, a head that is packed, a configuration without its bits."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    (source / "config.json").write_text(json.dumps({"tie_word_embeddings": True}))
    (source / "tokenizer.json").write_text("{}")
    model = quantized.round_trip(tiny_llama(), lambda weight: grids.round_to_nearest(weight, 4, 8))
    packed.save(model, source, target, 4, 8)
    found = dict(packed.weights(target))
    assert found.keys() == {name for name, _ in quantized.linears(model)}
    for name, layer in quantized.linears(model):
        torch.testing.assert_close(found[name], layer.weight.detach(), rtol=1e-3, atol=0)
    sizes = [layer.weight.numel() for _, layer in quantized.linears(model)]
    assert packed.layer_bytes(target) * 8 == sum(sizes) * (4 + (16 + 4) / 8)
    assert (target / "tokenizer.json").exists()
    assert json.loads((target / "config.json").read_text())["quantization_config"]["bits"] == 4
