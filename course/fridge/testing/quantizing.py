"""Layers for the tests of GPTQ, with what is right for them by the textbook, in float64.

A weight that lies halfway between two values may go either way by the last bit, and all weights behind it with it.
These layers are chosen so that no weight comes near such a place, and right answers agree in whatever order they add.
"""

from dataclasses import dataclass
from itertools import count

import torch
from torch import Tensor

from fridge.quantization import grids
from fridge.testing.expect import expect_close
from fridge.testing.given import expect_tensor
from fridge.testing.tiny import randn

MARGIN = 1e-4  # of a row's whole range: float32's errors are far smaller


@dataclass(frozen=True)
class QuantizedLayer:
    """A layer with its inputs, and its weights as GPTQ is to round them.

    Attributes:
        weight: [rows, columns], float32.
        hessian: [columns, columns], float64, positive definite.
        factor: [columns, columns], float32: the upper U with Uᵀ U = hessian⁻¹.
        rounded: [rows, columns], float64.
    """

    weight: Tensor
    hessian: Tensor
    factor: Tensor
    rounded: Tensor


def quantized_layer(
    rows: int,
    columns: int,
    bits: int,
    group_size: int | None = None,
    seed: int = 0,
    shift: float = 0.0,
    dead: tuple[int, ...] = (),
) -> QuantizedLayer:
    """A layer whose inputs have much to do with one another.

    Args:
        bits, group_size: of the grids that it is rounded to.
        seed: of the first layer that is tried.
        shift: added to all weights.
        dead: inputs that are always 0.
    """
    for number in count(1000 * seed):
        weight = randn(rows, columns, seed=number) + shift
        x = randn(3 * columns, columns, seed=number + 500).double()
        x += 2 * x[:, :1] + x.roll(1, 1)
        x[:, list(dead)] = 0
        hessian = x.T @ x / len(x)
        hessian += torch.diag(torch.where(hessian.diagonal() == 0, 1.0, 0.01 * hessian.diagonal().mean()))
        rounded, margin = brain_surgeon(weight, hessian, bits, group_size)
        if margin > MARGIN * 2**bits:
            factor = torch.linalg.cholesky(torch.linalg.inv(hessian), upper=True)
            return QuantizedLayer(weight, hessian, factor.float(), rounded)
    raise AssertionError("count doesn't end")


def brain_surgeon(weight: Tensor, hessian: Tensor, bits: int, group_size: int | None = None) -> tuple[Tensor, float]:
    """Optimal Brain Surgeon in the order of the columns, the inverse made anew for each of them.

    After Hassibi and Stork 1992, with rounding in the place of pruning (Frantar and Alistarh, "Optimal Brain
    Compression", 2022, arXiv 2208.11580). Each group's grid is fitted to the weights as they are given.

    Returns:
        The rounded weight in float64, and how near a weight or a zero point came to a middle between two values, in
        steps.
    """
    rest, rounded, margin = weight.double(), torch.zeros(weight.shape, dtype=torch.float64), 0.5
    for group in grids.groups(weight.shape[1], group_size):
        fitted = grids.fit(weight[:, group], bits)
        grid = grids.Grid(fitted.scale.double(), fitted.zero_point.double(), bits)
        margin = min(margin, _margin(-weight[:, group].amin(1, keepdim=True) / grid.scale, bits))
        for j in range(group.start, group.stop):
            column = rest[:, j : j + 1].clone()
            rounded[:, j : j + 1] = grid.round(column)
            margin = min(margin, _margin(column / grid.scale + grid.zero_point, bits))
            inverse = torch.linalg.inv(hessian[j:, j:])
            rest[:, j:] -= (column - rounded[:, j : j + 1]) * inverse[0] / inverse[0, 0]
    return rounded, margin


def _margin(codes: Tensor, bits: int) -> float:
    # Those beyond the grid's ends take the last value, wherever they are.
    between = codes[(codes > 0) & (codes < 2**bits - 1)]
    return float((between - between.floor() - 0.5).abs().min()) if len(between) else 0.5


def expect_columns(got: object, expected: Tensor, what: str, cause: str = "") -> None:
    """A matrix, column after column: what goes wrong in one goes on in all behind it, so the first is told.

    Raises:
        Wrong: another shape, or a number that is off by more than float32 errs, in the first column that has one.
    """
    mine = expect_tensor(got, what, expected.shape, cause=cause)
    atol = 1e-4 * float(expected.abs().max())
    off = ((mine.double() - expected).abs() <= atol).all(0).logical_not().nonzero()
    last = int(off[0]) + 1 if len(off) else expected.shape[1]
    where = f", column {last - 1}, the first that is off" if len(off) else ""
    expect_close(mine[:, :last], expected[:, :last], what + where, cause, atol)
