"""`fridge.models.llama` with the course's default model, against transformers."""

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from fridge import models
from fridge.models.caches import ConcatCache
from fridge.models.llama import Llama
from fridge.testing import TINY, tiny_llama
from fridge.workbench import text

TOLERANCE = 1e-4
LENGTH = 200


@pytest.fixture(scope="module")
def ours() -> Llama:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("FRIDGE_MODEL", raising=False)
        return models.load("cpu", torch.float32)


@pytest.fixture(scope="module")
def theirs() -> PreTrainedModel:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("FRIDGE_MODEL", raising=False)
        return models.load_transformers("cpu", torch.float32)


@pytest.fixture(scope="module")
def tokens() -> Tensor:
    """Two different pieces of real text, [2, 200]."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("FRIDGE_MODEL", raising=False)
        ids = models.load_tokenizer()(text.prose()[:4000])["input_ids"]
    assert len(ids) >= 2 * LENGTH
    return torch.tensor(ids[: 2 * LENGTH]).reshape(2, LENGTH)


@pytest.fixture(scope="module")
def expected(theirs: PreTrainedModel, tokens: Tensor) -> Tensor:
    """transformers' logits, [2, 200, vocab_size]."""
    with torch.no_grad():
        return theirs(tokens).logits


def difference(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape
    return float((a - b).abs().max())


def in_chunks(model: Llama, tokens: Tensor, sizes: list[int]) -> Tensor:
    cache, logits, start = ConcatCache(), [], 0
    for size in sizes:
        logits.append(model(tokens[:, start : start + size], cache))
        start += size
        assert len(cache) == start
    assert start == tokens.shape[1]
    return torch.cat(logits, dim=1)


def own_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Written from the definition, in loops over heads and queries."""
    out = torch.empty_like(q)
    group, offset = q.shape[1] // k.shape[1], k.shape[2] - q.shape[2]
    for head in range(q.shape[1]):
        for i in range(q.shape[2]):
            seen = offset + i + 1
            keys, values = k[:, head // group, :seen], v[:, head // group, :seen]
            scores = torch.einsum("bd,btd->bt", q[:, head, i], keys) / q.shape[-1] ** 0.5
            out[:, head, i] = torch.einsum("bt,btd->bd", scores.softmax(-1), values)
    return out


def own_rope(x: Tensor, start: int, theta: float) -> Tensor:
    """By complex numbers: the pair (i, i + half) times exp(i · angle)."""
    half = x.shape[-1] // 2
    angles = torch.outer(
        torch.arange(start, start + x.shape[2], dtype=torch.float64),
        theta ** (-torch.arange(half, dtype=torch.float64) / half),
    )
    turned = torch.complex(x[..., :half].double(), x[..., half:].double()) * torch.polar(
        torch.ones_like(angles), angles
    )
    return torch.cat((turned.real, turned.imag), dim=-1).to(x.dtype)


def test_prefill_equals_transformers(ours: Llama, tokens: Tensor, expected: Tensor) -> None:
    """Guards against any wrong part of the forward pass, rows of a batch that mix, and weights in the wrong place."""
    assert difference(ours(tokens), expected) < TOLERANCE


@pytest.mark.parametrize("sizes", [[150, 50], [1, 99, 1, 64, 35]], ids=str)
def test_chunks_onto_a_filled_cache_equal_transformers(
    ours: Llama, tokens: Tensor, expected: Tensor, sizes: list[int]
) -> None:
    """Guards against a causal mask that is aligned to the first key when queries start at a non-empty cache."""
    assert difference(in_chunks(ours, tokens, sizes), expected) < TOLERANCE


def test_decoding_token_by_token_equals_transformers(ours: Llama, tokens: Tensor, expected: Tensor) -> None:
    """Guards against positions that restart at 0 in each step, and keys that are rotated again in the cache."""
    row, steps = tokens[:1], 40
    cache = ConcatCache()
    logits = [ours(row[:, : LENGTH - steps], cache)]
    logits += [ours(row[:, i : i + 1], cache) for i in range(LENGTH - steps, LENGTH)]
    assert difference(torch.cat(logits, dim=1), expected[:1]) < TOLERANCE


def test_last_only_is_the_last_position(ours: Llama, tokens: Tensor, expected: Tensor) -> None:
    """Guards against `last_only` returning the first position or losing the dimension."""
    last = ours(tokens, last_only=True)
    assert difference(last, expected[:, -1:]) < TOLERANCE


def test_plugged_in_attention_and_rope_equal_ours(ours: Llama, tokens: Tensor, expected: Tensor) -> None:
    """Guards against parts that get another start, theta, shape or head order than the docstring promises."""
    calls: list[str] = []

    def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        calls.append("attention")
        return own_attention(q, k, v)

    def rope(x: Tensor, start: int, theta: float) -> Tensor:
        calls.append("rope")
        return own_rope(x, start, theta)

    row, model = tokens[:1, :24], ours.with_parts(attention, rope)
    assert difference(in_chunks(model, row, [10, 13, 1]), expected[:1, :24]) < TOLERANCE
    assert (calls.count("attention"), calls.count("rope")) == (3 * 30, 2 * 3 * 30)


def test_a_broken_part_shows() -> None:
    """Guards against `with_parts` that computes with the built-in part all the same, or changes the model it was
    called on."""
    model, ids = tiny_llama(), torch.arange(12)[None]
    before = model(ids)
    no_attention = model.with_parts(attention=lambda q, k, v: torch.zeros_like(q))
    no_rope = model.with_parts(rope=lambda x, start, theta: x)
    assert difference(no_attention(ids), before) > 0.1
    assert difference(no_rope(ids), before) > 0.1
    assert difference(no_attention.with_parts(rope=own_rope)(ids), no_attention(ids)) == 0  # the first part stays
    assert difference(model(ids), before) == 0


def test_embeddings_are_tied_and_float32(ours: Llama) -> None:
    """Guards against a second copy of the embedding (113 MB on Binder) and weights of another type."""
    assert ours.lm_head.weight.data_ptr() == ours.model.embed_tokens.weight.data_ptr()
    assert ours.dtype == torch.float32
    assert ours.device == torch.device("cpu")
    assert not any(weight.requires_grad for weight in ours.parameters())


def test_bfloat16_keeps_the_rotary_frequencies_in_float32() -> None:
    """Guards against angles in bfloat16, where positions beyond 256 collapse."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("FRIDGE_MODEL", raising=False)
        model = models.load("cpu", torch.bfloat16)
    assert model.dtype == torch.bfloat16
    assert model.inv_freq.dtype == torch.float32
    logits = model(torch.tensor([[1, 2, 3]]), ConcatCache())
    assert logits.dtype == torch.bfloat16
    assert logits.isfinite().all()


def test_tiny_config_is_what_tests_say_of_it() -> None:
    """Guards against a tiny model without grouped-query heads, on which a wrong head order goes unseen."""
    assert TINY.kv_heads < TINY.heads
    assert TINY.kv_heads > 1
    assert TINY.layers > 1
