"""The values that a weight may be rounded to in GPTQ's and AWQ's files: evenly spaced, with an integer zero point.

As in AutoGPTQ's checkpoints (`qzeros`, `scales`): a weight is (code - zero_point) · scale, codes and zero points of
`bits` bits. Unit 02's INT4 has a floating-point minimum in the zero point's place.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Grid:
    """What rows of weights are rounded to, each row to its own values.

    Attributes:
        scale: [rows, 1], float32, above 0: the distance between neighbouring values.
        zero_point: [rows, 1], float32, whole numbers from 0 to 2**bits - 1: the code of the weight 0.
        bits: of a code.
    """

    scale: Tensor
    zero_point: Tensor
    bits: int

    def codes(self, weight: Tensor) -> Tensor:
        """The nearest code of each weight [rows, n]: int32, from 0 to 2**bits - 1."""
        return (weight / self.scale + self.zero_point).round().clamp(0, 2**self.bits - 1).to(torch.int32)

    def values(self, codes: Tensor) -> Tensor:
        """The weights that codes [rows, n] stand for."""
        return (codes - self.zero_point) * self.scale

    def round(self, weight: Tensor) -> Tensor:
        """The nearest value of each weight [rows, n]."""
        return self.values(self.codes(weight))


def fit(weight: Tensor, bits: int) -> Grid:
    """The grid from each row's smallest to its largest weight, 0 among them.

    Args:
        weight: [rows, n], n at least 1. A row of zeros gets the scale 1.
        bits: at least 1.
    """
    low = weight.amin(1, keepdim=True).clamp(max=0).float()
    high = weight.amax(1, keepdim=True).clamp(min=0).float()
    steps = 2**bits - 1
    scale = torch.where(high > low, (high - low) / steps, 1.0)
    return Grid(scale, (-low / scale).round().clamp(0, steps), bits)


def groups(columns: int, group_size: int | None) -> Iterator[slice]:
    """Which columns share a grid: `group_size` after one another, the last perhaps fewer; None: all of a row."""
    size = group_size or columns
    for start in range(0, columns, size):
        yield slice(start, min(start + size, columns))


def round_to_nearest(weight: Tensor, bits: int, group_size: int | None = None) -> Tensor:
    """Each weight of [rows, columns] to the nearest value of its group's grid: what GPTQ and AWQ have to beat."""
    parts = (weight[:, group] for group in groups(weight.shape[1], group_size))
    return torch.cat([fit(part, bits).round(part) for part in parts], dim=1)
