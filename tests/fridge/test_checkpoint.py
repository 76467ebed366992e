"""Other checkpoints of the Llama family, saved by transformers itself, and those that `fridge.models.llama` refuses."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, Qwen2Config, Qwen2ForCausalLM

from fridge.models.caches import ConcatCache
from fridge.models.llama import Llama

LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
QWEN2 = {"config": Qwen2Config, "model": Qwen2ForCausalLM}


def load(folder: Path) -> Llama:
    return Llama.from_folder(folder, torch.device("cpu"), torch.float32)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="untied"),
        pytest.param({"tie_word_embeddings": True}, id="tied"),
        pytest.param({"num_key_value_heads": 4}, id="no groups"),
        pytest.param({"num_key_value_heads": 1}, id="one group"),
        pytest.param({"head_dim": 16}, id="heads wider than hidden size"),
        pytest.param({"rms_norm_eps": 1e-2}, id="norm eps"),
        pytest.param({"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}}, id="theta"),
        pytest.param({"rope_parameters": LLAMA3}, id="llama3 rope"),
        pytest.param({"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}}, id="linear rope"),
        pytest.param({"attention_bias": True}, id="llama biases"),
        pytest.param({"shard": "8KB"}, id="shards"),
        pytest.param(QWEN2, id="qwen2"),
        pytest.param(QWEN2 | {"tie_word_embeddings": True}, id="qwen2 tied"),
    ],
)
def test_equals_transformers(checkpoint, changes: dict) -> None:
    """Guards against a field of the config that is ignored, and against biases or shards that aren't read."""
    folder, theirs = checkpoint(**changes)
    assert len(list(folder.glob("*.safetensors"))) > (1 if "shard" in changes else 0)
    tokens = torch.randint(96, (2, 100), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = theirs(tokens).logits
    assert expected.std() > 0.1, "logits that say nothing prove nothing"
    ours, cache = load(folder), ConcatCache()
    chunked = torch.cat((ours(tokens[:, :70], cache), ours(tokens[:, 70:], cache)), dim=1)
    assert (ours(tokens) - expected).abs().max() < 1e-4
    assert (chunked - expected).abs().max() < 1e-4


def test_old_checkpoints_carry_frequencies(checkpoint) -> None:
    """Guards against refusing Llama-2 checkpoints for their `rotary_emb.inv_freq`, which transformers skips too."""
    folder, _ = checkpoint()
    file = folder / "model.safetensors"
    save_file(load_file(file) | {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.zeros(4)}, file)
    load(folder)


def test_a_rope_of_theta_alone_is_refused_for_scaled_frequencies(checkpoint) -> None:
    """Guards against a learner's rope that silently gives Llama-3.2 the wrong angles."""
    folder, _ = checkpoint(rope_parameters=LLAMA3)
    model = load(folder).with_parts(attention=lambda q, k, v: q)
    with pytest.raises(ValueError, match="scales its RoPE frequencies"):
        model.with_parts(rope=lambda x, start, theta: x)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0}}, "'yarn'"),
        ({"hidden_act": "gelu"}, "hidden_act='gelu'"),
    ],
)
def test_parts_that_differ_are_refused(checkpoint, change: dict, words: str) -> None:
    """Guards against a model that loads and talks nonsense because one of its parts isn't ours."""
    folder, _ = checkpoint()
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(ValueError, match=words):
        load(folder)


def test_other_architectures_are_refused(tmp_path: Path) -> None:
    """Guards against an AttributeError from deep inside for FRIDGE_MODEL=gpt2."""
    GPT2Config(n_layer=1).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"'gpt2'.*FRIDGE_MODEL"):
        load(tmp_path)


@pytest.mark.parametrize("tied", [True, False])
def test_no_weights_at_all(checkpoint, tied: bool) -> None:
    """Guards against a KeyError where a folder has only `pytorch_model.bin`, or where a download stopped early."""
    folder, _ = checkpoint(tie_word_embeddings=tied)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"missing: .* and \d+ more\. Fetch the model again") as caught:
        load(folder)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("name", ["model.norm.weight", "model.embed_tokens.weight", "lm_head.weight"])
def test_a_missing_tensor_is_named(checkpoint, name: str) -> None:
    """Guards against a model that runs on memory never written."""
    folder, _ = checkpoint()
    file = folder / "model.safetensors"
    tensors = load_file(file)
    del tensors[name]
    save_file(tensors, file)
    with pytest.raises(ValueError, match=f"missing: {name}\\."):
        load(folder)


def test_tensors_of_another_shape_or_name_are_named(checkpoint) -> None:
    """Guards against weights from another model in the same folder."""
    folder, _ = checkpoint()
    file = folder / "model.safetensors"
    whole = load_file(file)
    save_file(whole | {"model.norm.weight": torch.zeros(7)}, file)
    with pytest.raises(ValueError, match=r"model\.norm\.weight is \[7\] and not \[32\]"):
        load(folder)
    save_file(whole | {"model.layers.0.self_attn.q_norm.weight": torch.zeros(8)}, file)
    with pytest.raises(ValueError, match=r"unknown: model\.layers\.0\.self_attn\.q_norm\.weight\."):
        load(folder)
