"""A large model on one card, with a tiny model in its place and a card that is pretended."""

import pytest
import torch

bnb = pytest.importorskip("bitsandbytes")

from transformers import LlamaConfig, LlamaForCausalLM  # noqa: E402

from fridge import models  # noqa: E402
from fridge.memory.cards import GIB, Card  # noqa: E402
from fridge.quantization import on_a_card  # noqa: E402

HIDDEN, WIDE, LAYERS, WORDS = 64, 160, 2, 100
CARD = Card("a pretended card", 4, 4 * GIB, 1e9, 1e12, "a test")
CODE_BOOKS = 4 * (16 + 256)  # bytes that each layer holds beside codes and rulers: their levels


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A Llama of 0.1 million numbers, as a hub would send it."""
    config = LlamaConfig(
        hidden_size=HIDDEN,
        intermediate_size=WIDE,
        num_hidden_layers=LAYERS,
        num_attention_heads=2,
        num_key_value_heads=2,
        vocab_size=WORDS,
        tie_word_embeddings=False,
    )
    place = tmp_path_factory.mktemp("tiny")
    LlamaForCausalLM(config).save_pretrained(place)
    return place


def test_shapes_are_those_of_the_config(folder):
    """Guards against a head among the matrices: bitsandbytes leaves it, and a prediction of 7 billion is 0.8 GB off."""
    shapes = on_a_card.shapes(folder)
    assert shapes.matrices == LAYERS * (*4 * (HIDDEN * HIDDEN,), *3 * (HIDDEN * WIDE,))
    assert shapes.rest == 2 * WORDS * HIDDEN + (2 * LAYERS + 1) * HIDDEN


def test_shapes_of_the_courses_own_configs_take_no_memory_and_no_network():
    """Guards against 15 GB in the notebook of who has no GPU."""
    shapes = on_a_card.shapes("Qwen2.5-7B")
    assert sum(shapes.matrices) + shapes.rest == 7_615_616_512


def test_what_is_placed_is_what_was_predicted(folder):
    """Guards against a measurement that can't be compared: to the byte, but for bitsandbytes' code books."""
    shapes = on_a_card.shapes(folder)
    codes = sum(numbers // 2 + numbers // 64 + 4 * -(-numbers // (64 * 256)) + 4 for numbers in shapes.matrices)
    width = 4 if models.default_dtype(models.default_device()) == torch.float32 else 2
    model, measured = on_a_card.place(folder, codes + width * shapes.rest, CARD)
    assert {type(layer).__name__ for layer in model.modules()} >= {"Linear4bit"}
    beyond = measured - codes - width * shapes.rest
    if not torch.cuda.is_available():
        assert 0 <= beyond <= len(shapes.matrices) * CODE_BOOKS + 4 * 64
    assert model(torch.tensor([[1, 2, 3]], device=model.device)).logits.shape == (1, 3, WORDS)


def test_what_has_no_room_is_not_fetched(monkeypatch):
    """Guards against fifteen gigabytes that are fetched for an error."""
    monkeypatch.setattr(on_a_card.bitsandbytes_peer, "load", lambda **options: pytest.fail("it was fetched"))
    with pytest.raises(models.ModelUnavailable, match=r"5\.5 GB and 2 GB of reserve don't fit into the 4\.3 GB"):
        on_a_card.place("some-lab/big", 5_500_000_000, CARD)


def test_a_model_that_is_not_there_is_said_in_a_sentence(tmp_path):
    """Guards against a page of transformers' tracebacks for a name with a typing error."""
    for attempt in (
        lambda: on_a_card.shapes(tmp_path),
        lambda: on_a_card.place(tmp_path, 1000, CARD),
    ):
        with pytest.raises(models.ModelUnavailable, match="can't be fetched or read"):
            attempt()


def test_no_gpu_is_no_card():
    """Guards against a cell that runs where there is nothing to run on."""
    assert (on_a_card.this_card() is None) == (not torch.cuda.is_available())
