"""fridge.quantization.gguf_models: a Llama from a file's metadata and tensors."""

import pytest
import torch

from fridge.quantization import gguf_models
from fridge.quantization.gguf_kinds import FLOAT32, STRING, UINT32
from fridge.testing import TINY, tiny_llama

METADATA = {
    "general.architecture": (STRING, "llama"),
    "llama.vocab_size": (UINT32, TINY.vocab_size),
    "llama.embedding_length": (UINT32, TINY.hidden_size),
    "llama.feed_forward_length": (UINT32, TINY.intermediate_size),
    "llama.block_count": (UINT32, TINY.layers),
    "llama.attention.head_count": (UINT32, TINY.heads),
    "llama.attention.head_count_kv": (UINT32, TINY.kv_heads),
    "llama.rope.freq_base": (FLOAT32, TINY.rope_theta),
    "llama.attention.layer_norm_rms_epsilon": (FLOAT32, TINY.norm_eps),
}


def weights(model):
    return {name: weight.numpy().copy() for name, weight in model.named_parameters()}


def test_the_same_weights_give_the_same_logits():
    """Guards against a number of the metadata that goes to another place, and a head that isn't the embedding."""
    model, tokens = tiny_llama(), torch.arange(2, 40)[None]
    again = gguf_models.model_of(METADATA, weights(model).items())
    assert gguf_models.config_of(METADATA) == TINY
    assert torch.equal(again(tokens), model(tokens))
    assert not any(parameter.requires_grad for parameter in again.parameters())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tensors: tensors.pop("model.norm.weight"), "no tensors for model.norm.weight"),
        (lambda tensors: tensors.update({"rope_freqs.weight": tensors["model.norm.weight"]}), "rope_freqs.weight"),
        (lambda tensors: tensors.update({"model.norm.weight": tensors["model.norm.weight"][1:]}), r"shape \[31\]"),
    ],
)
def test_tensors_that_do_not_fit_are_told(change, words):
    """Guards against a model with a layer of nothing, whose logits are NaN."""
    tensors = weights(tiny_llama())
    change(tensors)
    with pytest.raises(ValueError, match=words):
        gguf_models.model_of(METADATA, tensors.items())


@pytest.mark.parametrize(
    ("key", "words"), [("general.architecture", "architecture None"), ("llama.block_count", "doesn't say llama.block")]
)
def test_metadata_that_are_missing_are_told(key, words):
    """Guards against a KeyError for files of other models."""
    with pytest.raises(ValueError, match=words):
        gguf_models.config_of({name: pair for name, pair in METADATA.items() if name != key})
