"""The memory calculator: model, format, context, batch → a bar of weights, KV cache, activations and reserve against
the cards' lines. It brings the picture; the arithmetic is the learner's own functions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes

from fridge.memory import model_configs
from fridge.memory.cards import CARDS
from fridge.workbench import plots

GB = 10**9
RESERVE = 2 * GB  # the default of the exercises
PREFILL_CHUNK = 2048  # tokens that a server processes at once; a longer prompt takes several passes
_FILLS = {"weights": plots.SECOND, "KV cache": "#f4a582", "activations": plots.ACCENT, "rest of the reserve": plots.INK}

Config = dict[str, Any]


@dataclass(frozen=True)
class Calculator:
    """Four answers of unit 01, put together.

    Attributes:
        count_parameters: config -> parts.
        weight_bytes: (parts, bits) -> bytes.
        kv_bytes: (config, tokens, batch) -> bytes.
        formats: name -> bits per weight.
    """

    count_parameters: Callable[[Config], dict[str, int]]
    weight_bytes: Callable[[dict[str, int], float], int]
    kv_bytes: Callable[[Config, int, int], int]
    formats: dict[str, float]

    def need(self, model: str, form: str, context: int, batch: int) -> dict[str, int]:
        """Bytes by tenant. Raises KeyError for a model or format that isn't known."""
        config = model_configs.read(model)
        activations = activation_bytes(config, context, batch)
        return {
            "weights": self.weight_bytes(self.count_parameters(config), self.formats[form]),
            "KV cache": self.kv_bytes(config, context, batch),
            "activations": activations,
            "rest of the reserve": max(0, RESERVE - activations),  # the reserve is there for activations too
        }

    def draw(self, model: str, form: str, context: int, batch: int) -> Axes:
        """The bar of one card that would hold all of it, against the cards there are."""
        need = self.need(model, form, context, batch)
        total = sum(need.values())
        fitting = [card.name for card in CARDS.values() if card.memory >= total]
        where = f"fits on one {fitting[0]}" if fitting else "fits on no single card"
        title = f"{model}, {form}, {batch} × {context:,} tokens: {total / GB:.1f} GB, {where}"
        ax = plots.axes(title, "memory (GB)", size=(8.4, 3.0))
        left = 0.0
        for tenant, size in need.items():
            label = f"{tenant}: {size / GB:.1f} GB"
            ax.barh(0, size / GB, left=left, height=0.5, color=_FILLS[tenant], edgecolor="white", label=label)
            left += size / GB
        _draw_cards(ax)
        ax.set(ylim=(-0.4, 1.6), xlim=(0, max(left, 155) * 1.08), yticks=[])
        ax.grid(visible=False)
        ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
        return ax

    def sliders(self) -> None:
        """Controls for `draw`; where ipywidgets isn't installed, a sentence that says how to do without."""
        try:
            import ipywidgets
        except ImportError:
            print('No ipywidgets here. Call mine.draw("Llama-3-8B", "NF4", context=8192, batch=8) with your numbers.')
            return
        controls = {
            "model": ipywidgets.Dropdown(options=model_configs.NAMES, value="Llama-3-8B", description="model"),
            "form": ipywidgets.Dropdown(options=list(self.formats), description="format"),
            "context": ipywidgets.SelectionSlider(
                options=[2**n for n in range(8, 18)], value=4096, description="context"
            ),
            "batch": ipywidgets.SelectionSlider(options=[2**n for n in range(9)], value=1, description="batch"),
        }
        ipywidgets.interact(lambda **chosen: _show(self.draw(**chosen)), **controls)


def activation_bytes(config: Config, context: int, batch: int) -> int:
    """An estimate of the intermediate results in flight, in 16 bits.

    The largest moment of a layer is its MLP: the residual, the normed input, gate, up and their product, for each token
    of a pass. A pass holds at most `PREFILL_CHUNK` tokens of prefill, or one of each sequence in decode. The logits,
    one row a sequence, are float32.
    """
    tokens = max(batch, min(context * batch, PREFILL_CHUNK))
    in_layer = 2 * tokens * (2 * config["hidden_size"] + 3 * config["intermediate_size"])
    return in_layer + 4 * batch * config["vocab_size"]


def _draw_cards(ax: Axes) -> None:
    names: dict[int, list[str]] = {}  # cards whose lines would lie on one another share one
    for card in CARDS.values():
        names.setdefault(round(card.memory / GB), []).append(card.name)
    for memory, same in names.items():
        ax.axvline(memory, color=plots.INK, linewidth=1.0, linestyle="--")
        ax.text(memory + 0.8, 1.5, "\n".join(same), fontsize=7, va="top")


def _show(ax: Axes) -> None:
    from IPython.display import display

    display(ax.figure)
    plots.plt.close(ax.figure)
