"""A `fridge.models.llama.Llama` from what a GGUF file says: the config from its metadata, the weights by name.

It takes what the exercises of unit 08 give, so that your reader feeds a real model.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from fridge.models.llama import Llama, LlamaConfig

Metadata = dict[str, tuple[int, Any]]  # key -> (kind, value)


def config_of(metadata: Metadata) -> LlamaConfig:
    """The shapes of the model.

    Raises:
        ValueError: it is of another architecture than `llama`, or doesn't say its shapes.
    """
    architecture = metadata.get("general.architecture", (None, None))[1]
    if architecture != "llama":
        raise ValueError(f"the file holds a model of the architecture {architecture!r}, and the course reads 'llama'")

    def of(key: str) -> Any:
        if f"llama.{key}" not in metadata:
            raise ValueError(f"the file doesn't say llama.{key}")
        return metadata[f"llama.{key}"][1]

    heads, hidden = of("attention.head_count"), of("embedding_length")
    return LlamaConfig(
        vocab_size=of("vocab_size"),
        hidden_size=hidden,
        intermediate_size=of("feed_forward_length"),
        layers=of("block_count"),
        heads=heads,
        kv_heads=of("attention.head_count_kv"),
        head_dim=hidden // heads,
        rope_theta=of("rope.freq_base"),
        norm_eps=of("attention.layer_norm_rms_epsilon"),
    )


def model_of(metadata: Metadata, tensors: Iterable[tuple[str, np.ndarray]]) -> Llama:
    """The model, in float32 on the CPU; one tensor after another takes its place, so that none is there twice.

    Args:
        metadata: as the file has them.
        tensors: name at Hugging Face and float32 values of each. The embedding is the head, so there is no `lm_head`.

    Raises:
        ValueError: a tensor is missing, unknown or of another shape.
    """
    with torch.device("meta"):
        model = Llama(config_of(metadata)).eval().requires_grad_(False)
    known = dict(model.named_parameters())
    for name, values in tensors:
        if name not in known or known.pop(name).shape != values.shape:
            raise ValueError(f"{name}, of shape {list(values.shape)}, has no place in this model")
        owner, _, own = name.rpartition(".")
        parameter = torch.nn.Parameter(torch.from_numpy(values), requires_grad=False)
        setattr(model.get_submodule(owner), own, parameter)
    if known:
        raise ValueError(f"no tensors for {', '.join(sorted(known)[:3])}")
    model.lm_head.weight = model.model.embed_tokens.weight
    return model
