"""Codes as a checkpoint holds them: 32 of b bits in b whole words, as AutoGPTQ laid them out and others load them.

A layer of `columns` inputs and `rows` outputs becomes
    qweight  [columns · bits / 32, rows]  int32    a column of it is a row of codes, the first in the lowest bits
    qzeros   [groups, rows · bits / 32]   int32    the zero points
    scales   [groups, rows]               float16
and config.json says how many bits, and how large the groups. AutoGPTQ's own files hold each zero point less one: 0
becomes -1, wraps to the largest code, and is read as 2**bits. Here it stands as it is, as in GPTQModel's. transformers
gives such a folder to auto-round, where that package is installed, and that multiplies it on a CPU, too.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from fridge.models.llama import Llama
from fridge.quantization.grids import Grid
from fridge.quantization.quantized import linears

WORD = 32  # bits
CLOSE = 1e-3  # of a step: how far a value may be from its grid's
NAMES = ("qweight", "qzeros", "scales")


def grid_of(values: Tensor, bits: int) -> Grid:
    """A grid that values already are on, found from the values alone.

    Args:
        values: [rows, n], each row (code - zero_point) · scale of its own grid, in float32.

    Returns:
        Of each row the widest grid, whose codes may be smaller than those that the values were made from.

    Raises:
        ValueError: a row is on no grid of so many bits.
    """
    values = values.float()
    largest = values.abs().amax(1, keepdim=True)
    low, high = values.amin(1, keepdim=True).clamp(max=0), values.amax(1, keepdim=True).clamp(min=0)
    scale = torch.where(largest > 0, torch.nan, 1.0)  # nan: not found yet
    for steps in range(1, 2**bits):  # from 0 to the largest value
        left = scale.isnan().flatten().nonzero().flatten()
        tried = largest[left] / steps
        in_steps = values[left] / tried
        fits = ((in_steps - in_steps.round()).abs() < CLOSE).all(1, keepdim=True)
        fits &= ((high - low)[left] / tried).round() < 2**bits
        scale[left] = torch.where(fits, tried, torch.nan)
    if scale.isnan().any():
        raise ValueError(f"row {int(scale.isnan().flatten().nonzero()[0])} is on no grid of {bits} bits")
    return Grid(scale, (-low / scale).round(), bits)


def pack(codes: Tensor, bits: int) -> Tensor:
    """[rows, n] of whole numbers below 2**bits -> int32 [rows, n * bits / 32], the first code in the lowest bits.

    Raises:
        ValueError: n codes don't fill whole words.
    """
    rows, n = codes.shape
    if n * bits % WORD:
        raise ValueError(f"{n} codes of {bits} bits don't fill words of {WORD} bits")
    as_bits = np.unpackbits(codes.to(torch.uint8).numpy()[..., None], axis=-1, count=bits, bitorder="little")
    packed = np.packbits(as_bits.reshape(rows, n * bits), axis=-1, bitorder="little")
    return torch.from_numpy(packed.view("<i4").copy())


def unpack(words: Tensor, bits: int) -> Tensor:
    """What `pack` packed: int32 [rows, words * 32 / bits]."""
    as_bits = np.unpackbits(words.contiguous().numpy().astype("<i4").view(np.uint8), axis=-1, bitorder="little")
    codes = np.packbits(as_bits.reshape(len(words), -1, bits), axis=-1, bitorder="little")[..., 0]
    return torch.from_numpy(codes.astype(np.int32))


def layer_tensors(weight: Tensor, bits: int, group_size: int) -> dict[str, Tensor]:
    """A layer's tensors in the checkpoint, by their last names.

    Args:
        weight: [rows, columns], each group of a row on a grid of its own.

    Raises:
        ValueError: it is on none, or has a shape that this layout can't hold.
    """
    rows, columns = weight.shape
    if columns % group_size:
        raise ValueError(f"{columns} columns aren't whole groups of {group_size}")
    parts = weight.reshape(-1, group_size)  # [rows * groups, group_size]
    grid = grid_of(parts, bits)
    return {
        "qweight": pack(grid.codes(parts).view(rows, columns), bits).T.contiguous(),
        "qzeros": pack(grid.zero_point.view(rows, -1).T, bits),
        "scales": grid.scale.view(rows, -1).T.half().contiguous(),
    }


def weight_of(tensors: dict[str, Tensor], bits: int) -> Tensor:
    """The weight [rows, columns] that a layer's tensors stand for, float32: `layer_tensors` undone."""
    codes = unpack(tensors["qweight"].T, bits)
    zero_points, scales = unpack(tensors["qzeros"], bits).T, tensors["scales"].float().T  # [rows, groups]
    of_groups = codes.view(*scales.shape, -1)
    return ((of_groups - zero_points[..., None]) * scales[..., None]).view_as(codes)


def save(model: Llama, source: Path, target: Path, bits: int, group_size: int) -> None:
    """Write a model whose linear layers were rounded as a checkpoint that transformers loads.

    Args:
        source: the folder that the model came from: its configuration and tokenizer are copied.
        target: a folder, made if it isn't there.

    Raises:
        ValueError: a layer isn't on a grid of so many bits and so large groups.
    """
    layers = {f"{name}.weight" for name, _ in linears(model)}
    packed: dict[str, Tensor] = {}
    others: dict[str, Tensor] = {}
    for name, value in model.state_dict().items():
        if name not in layers:
            others[name] = value.half().contiguous()
            continue
        try:
            of_layer = layer_tensors(value.float(), bits, group_size)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        packed |= {f"{name.removesuffix('weight')}{last}": tensor for last, tensor in of_layer.items()}
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    if config.get("tie_word_embeddings"):
        del others["lm_head.weight"]
    target.mkdir(parents=True, exist_ok=True)
    for path in source.glob("*token*"):
        shutil.copy(path, target)
    config |= {"dtype": "float16", "quantization_config": _settings(bits, group_size)}
    (target / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    save_file(others | packed, target / "model.safetensors", metadata={"format": "pt"})


def layer_bytes(folder: Path) -> int:
    """Bytes of all codes, zero points and scales in a checkpoint."""
    return sum(tensor.nbytes for _, tensors in _layers(folder) for tensor in tensors.values())


def weights(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """Name and weight of each packed layer in a checkpoint, one after another: all at once are a model in float32."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))["quantization_config"]
    for name, tensors in _layers(folder):
        yield name, weight_of(tensors, config["bits"])


def _layers(folder: Path) -> Iterator[tuple[str, dict[str, Tensor]]]:
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        for name in (full.removesuffix(".qweight") for full in file.keys() if full.endswith(".qweight")):  # noqa: SIM118
            yield name, {last: file.get_tensor(f"{name}.{last}") for last in NAMES}


def _settings(bits: int, group_size: int) -> dict[str, Any]:
    return {
        "quant_method": "auto-round",
        "packing_format": "auto_round:gptqmodel",
        "bits": bits,
        "group_size": group_size,
        "sym": False,
    }
