"""The configs of well-known models, as their makers publish them, so that memory can be planned without a download.

Each file in `configs/` holds the fields of the model's `config.json` that fix its shapes; transformers builds the same
model from it, on the `meta` device, where tensors have shapes and no memory.
"""

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fridge import models

FOLDER = Path(__file__).with_name("configs")

NAMES = (
    "SmolLM2-135M",
    "Qwen2.5-0.5B",
    "Llama-2-7B",
    "Mistral-7B-v0.1",
    "Qwen2.5-7B",
    "Llama-3-8B",
    "Llama-2-13B",
    "Mixtral-8x7B",
    "Llama-2-70B",
    "Llama-3-70B",
)  # by size


def read(name: str) -> dict[str, Any]:
    """The config of one of `NAMES`, a new dict each time.

    Raises:
        KeyError: no such config here.
    """
    if name not in NAMES:
        raise KeyError(f"no config of {name!r} here; there are {', '.join(NAMES)}")
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def chosen() -> dict[str, Any]:
    """The config of the model that `models.load()` loads. Raises ModelUnavailable as that does."""
    return json.loads((models.folder() / "config.json").read_text(encoding="utf-8"))


def on_meta(name: str) -> nn.Module:
    """transformers' model for one of `NAMES`: all the shapes, no memory. Raises KeyError as `read` does."""
    from transformers import AutoConfig, AutoModelForCausalLM  # seconds; only this function needs them

    fields = read(name)
    config = AutoConfig.for_model(fields.pop("model_type"), **fields)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    model.tie_weights()
    return model


def counted_by_transformers(name: str) -> tuple[int, int]:
    """(total, active): parameters of `on_meta(name)`; active leaves out the experts that a token isn't routed to.

    Raises:
        KeyError: no such config here.
    """
    config, sizes = read(name), {key: weight.numel() for key, weight in on_meta(name).named_parameters()}
    total = sum(sizes.values())  # named_parameters lists a tied weight once
    in_experts = sum(size for key, size in sizes.items() if ".experts." in key)
    if not in_experts:
        return total, total
    return total, total - in_experts + in_experts * config["num_experts_per_tok"] // config["num_local_experts"]
