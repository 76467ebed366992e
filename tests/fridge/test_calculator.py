"""The calculator: the learner's numbers, drawn against the cards."""

import builtins
import sys

import matplotlib.pyplot as plt
import pytest

from fridge.memory import model_configs
from fridge.memory.calculator import GB, RESERVE, Calculator, activation_bytes

pytestmark = pytest.mark.usefixtures("no_window")


@pytest.fixture
def calculator() -> Calculator:
    """With functions that are easy to follow: 10 GB a bit of weights, 1 GB of KV cache a token and sequence."""
    return Calculator(
        count_parameters=lambda config: {"mlp": 10 * GB},
        weight_bytes=lambda parts, bits: int(parts["mlp"] * bits),
        kv_bytes=lambda config, tokens, batch: GB * tokens * batch,
        formats={"ONE": 1.0, "FOUR": 4.0},
    )


def test_need_by_tenant(calculator: Calculator) -> None:
    """Guards against arguments in the wrong place, and against a reserve that is counted beside the activations it is
    there for."""
    need = calculator.need("Llama-3-8B", "FOUR", context=3, batch=2)
    assert (need["weights"], need["KV cache"]) == (40 * GB, 6 * GB)
    assert need["activations"] > 0
    assert need["activations"] + need["rest of the reserve"] == RESERVE


def test_title_names_the_first_card_that_holds_it(calculator: Calculator) -> None:
    """Guards against a finding that contradicts the picture: 10 + 2 + 2 GB fit on a T4, 10 + 30 + 2 on an A100-40."""
    for context, card in ((2, "one T4"), (30, "one A100-40"), (200, "no single card")):
        ax = calculator.draw("Llama-3-8B", "ONE", context, batch=1)
        assert card in ax.get_title(loc="left")
        assert ax.get_xlim()[1] > 10 + context  # the bar is not cut off


def test_activations_of_a_pass_are_bounded() -> None:
    """Guards against the whole prompt in one pass: a server feeds chunks. Decode holds a token of each sequence."""
    config = model_configs.read("Llama-3-8B")
    assert activation_bytes(config, 100_000, 1) == activation_bytes(config, 2048, 1)
    assert activation_bytes(config, 1, 1) < activation_bytes(config, 100, 1) < activation_bytes(config, 2048, 1)
    assert activation_bytes(config, 1, 5000) > activation_bytes(config, 1, 2048)


def test_sliders_draw(calculator: Calculator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against controls whose names don't fit `draw`, which fails in the browser only."""
    widgets = pytest.importorskip("ipywidgets")
    drawn = []
    monkeypatch.setattr(Calculator, "draw", lambda self, **chosen: drawn.append(chosen) or plt.subplots()[1])
    monkeypatch.setattr(widgets, "interact", lambda call, **controls: call(**{k: c.value for k, c in controls.items()}))
    calculator.sliders()
    assert drawn == [{"model": "Llama-3-8B", "form": "ONE", "context": 4096, "batch": 1}]


def test_without_ipywidgets(
    calculator: Calculator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Guards against an ImportError in Colab or a plain Jupyter: the cell says what to call instead."""
    monkeypatch.delitem(sys.modules, "ipywidgets", raising=False)
    real = builtins.__import__

    def without(name: str, *rest: object) -> object:
        if name == "ipywidgets":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    calculator.sliders()
    assert "mine.draw(" in capsys.readouterr().out
