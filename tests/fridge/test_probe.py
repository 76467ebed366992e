"""What is measured of a machine: plausible in size and unit, and of the work that it names. No bound on speed."""

import pytest
import torch

from fridge.memory import probe
from fridge.models.caches import ConcatCache
from fridge.models.llama import Llama
from fridge.speculation.early_exit import early_exit
from fridge.testing import tiny_llama
from fridge.workbench import measure

CPU = torch.device("cpu")


@pytest.fixture
def one_second(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Every measured call runs once and counts as one second; the list counts the calls."""
    calls: list[int] = []

    def seconds(call: object, repeats: int = 5, warmup: int = 1) -> float:
        call()
        calls.append(1)
        return 1.0

    monkeypatch.setattr(measure, "seconds", seconds)
    return calls


def test_bytes_that_are_counted(one_second: list[int]) -> None:
    """Guards against a copy that counts only one direction, and against a small matrix whose passes are forgotten."""
    assert probe.copy_bandwidth(CPU, megabytes=2) == 2 * 2 * 2**20
    assert probe.read_bandwidth(CPU, megabytes=128) == 128 * 2**20
    assert probe.read_bandwidth(CPU, megabytes=1) == 64 * 2**20
    assert probe.read_bandwidth(CPU, torch.bfloat16, megabytes=64) == 64 * 2**20
    assert probe.arithmetic(CPU, side=64) == 2 * 64**3
    assert len(one_second) == 5


def test_a_decode_step_of_a_batch(one_second: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against a step that prefills, decodes one sequence where a batch was asked for, or finds no context."""
    model, calls = tiny_llama(), []
    forward = Llama.forward

    def noted(self: Llama, tokens: torch.Tensor, cache: ConcatCache, last_only: bool = False) -> torch.Tensor:
        calls.append((tuple(tokens.shape), len(cache)))
        return forward(self, tokens, cache, last_only)

    monkeypatch.setattr(Llama, "forward", noted)
    assert probe.decode_seconds(model, batch=3, context=5) == 1.0
    assert calls == [((3, 1), 5)]


def test_products_are_all_the_linear_layers(one_second: list[int]) -> None:
    """Guards against products without the head, or with the embedding, which is looked up: 2 layers of 7, and 1."""
    model, seen = tiny_llama(), []
    for part in model.modules():
        if isinstance(part, torch.nn.Linear):
            part.register_forward_hook(lambda part, x, y: seen.append(part))
    probe.products_seconds(model)
    assert len(seen) == 15
    assert seen[-1] is model.lm_head


def test_a_hollow_model_asks_as_often() -> None:
    """Guards against a hollow model with fewer layers, whose step would hide overhead."""
    model = tiny_llama()
    hollow = probe.hollow(model)
    assert hollow.config.layers == model.config.layers
    assert hollow.dtype == model.dtype
    assert sum(weight.nbytes for weight in hollow.parameters()) < 200_000
    assert hollow(torch.tensor([[1, 2]])).shape == (1, 2, 64)


def test_weights_that_a_call_reads() -> None:
    """Guards against an embedding that counts twice or, looked up, at all, and against a part that reads the whole."""
    model = tiny_llama()
    matrix = model.lm_head.weight
    layer = sum(weight.numel() for weight in model.model.layers[0].parameters())
    expected = 4 * (model.config.layers * layer + model.config.hidden_size + matrix.numel())
    assert probe.weights_read(model) == expected
    assert probe.weights_read(early_exit(model, 1)) == expected - 4 * (model.config.layers - 1) * layer
