"""A model of billions of weights on one card: its shapes, before a byte is fetched; then itself in NF4, measured."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from fridge import models
from fridge.memory import model_configs
from fridge.memory.cards import Card
from fridge.quantization import bitsandbytes_peer, quantized

RESERVE = 2 * 10**9  # bytes beside the weights, as unit 01 leaves them: CUDA itself, activations, a short context


@dataclass(frozen=True)
class Shapes:
    """What a model consists of.

    Attributes:
        matrices: numbers of each linear layer but the head: what bitsandbytes quantizes.
        rest: all other numbers together: embedding, head, norms, biases.
    """

    matrices: tuple[int, ...]
    rest: int


def shapes(source: str | Path) -> Shapes:
    """The shapes of one of `model_configs.NAMES`, of a model on the hub, or of one in a folder.

    Of the hub's it fetches the config alone, a few kB.

    Raises:
        ModelUnavailable: there is no config to be had.
    """
    model = model_configs.on_meta(source) if source in model_configs.NAMES else _on_meta(source)
    matrices = tuple(layer.weight.numel() for _, layer in quantized.linears(model))
    return Shapes(matrices, sum(weight.numel() for weight in model.parameters()) - sum(matrices))


def this_card() -> Card | None:
    """The GPU of this machine, with the memory that it has; None where there is none."""
    if not torch.cuda.is_available():
        return None
    facts = torch.cuda.get_device_properties(0)
    gigabytes = round(facts.total_memory / 2**30)
    return Card(facts.name, gigabytes, facts.total_memory, 0.0, 0.0, "this machine's driver")


def place(source: str | Path, predicted: int, card: Card) -> tuple[PreTrainedModel, int]:
    """Load a model in NF4 with double quantization, and say how many bytes it takes.

    Args:
        source: an id on the hub, or a folder.
        predicted: bytes; with `RESERVE` they must fit on the card, or nothing is fetched.

    Returns:
        The model, and what CUDA allocated for it; where there is no GPU, the bytes of its tensors.

    Raises:
        ModelUnavailable: it has no room, or can't be fetched or read.
    """
    if predicted + RESERVE > card.memory:
        raise models.ModelUnavailable(
            f"{predicted / 1e9:.1f} GB and {RESERVE / 1e9:.0f} GB of reserve don't fit into the "
            f"{card.memory / 1e9:.1f} GB of {card.name}. Nothing was fetched."
        )
    before = _allocated()
    try:
        model = bitsandbytes_peer.load(bits=4, double_quant=True, source=source)
    except (OSError, ValueError) as error:
        raise _unavailable(source, error) from error
    return model, _allocated() - before if torch.cuda.is_available() else bitsandbytes_peer.stored_bytes(model)


def _on_meta(source: str | Path) -> nn.Module:
    try:
        config = AutoConfig.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise _unavailable(source, error) from error
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    model.tie_weights()
    return model


def _unavailable(source: str | Path, error: Exception) -> models.ModelUnavailable:
    why = next(iter(str(error).splitlines()), type(error).__name__)[:200]
    return models.ModelUnavailable(
        f"{source} can't be fetched or read ({why}). Check the name, the network (HF_ENDPOINT may name a mirror), and "
        "the free space of the disk: a model of 7 billion weights takes 15 GB there."
    )


def _allocated() -> int:
    return torch.cuda.memory_allocated() if torch.cuda.is_available() else 0
