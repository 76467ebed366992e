"""Unit 07: what a layer's inputs make of an error in its weights."""

import torch
from matplotlib.axes import Axes
from torch import Tensor

from fridge.workbench import plots

WEIGHTS = (0.4, 0.45)  # between the values 0 and 1 of a grid whose step is 1
CORRELATION = 0.8  # of the two inputs, each of mean square 1


def two_weights() -> None:
    """Draw two weights between the values of their grids: the nearest pair, the best one, and the way to it."""
    hessian = torch.tensor([[1.0, CORRELATION], [CORRELATION, 1.0]])
    slid = WEIGHTS[1] + WEIGHTS[0] * CORRELATION  # the first went down to 0; where the second makes up for most of it
    nearest, best = (0.0, 0.0), (0.0, float(round(slid)))
    times = _loss(nearest, hessian) / _loss(best, hessian)
    ax = plots.axes(
        f"The nearest pair of values: {times:.1f} times the error of the best",
        "first weight, in steps of its grid",
        "second weight, in steps of its grid",
        size=(7.2, 5.6),
    )
    _ellipses(ax, hessian, sorted((_loss(best, hessian), _loss(nearest, hessian))))
    dots = [(x, y) for x in (-1, 0, 1, 2) for y in (-1, 0, 1, 2)]
    ax.plot(*zip(*dots, strict=True), linestyle="none", marker="o", color="#777777", markersize=5)
    for start, end in ((WEIGHTS, (0.0, WEIGHTS[1])), ((0.0, WEIGHTS[1]), (0.0, slid)), ((0.0, slid), best)):
        ax.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": plots.ACCENT, "linewidth": 1.6})
    for (x, y), words, marker, color, offset in (
        (WEIGHTS, "the weights", "x", plots.INK, (8, 4)),
        (nearest, "nearest", "s", plots.SECOND, (9, -13)),
        (best, "best", "D", plots.ACCENT, (-34, 6)),
    ):
        ax.plot([x], [y], linestyle="none", marker=marker, color=color, markersize=10, markeredgewidth=2.2)
        ax.annotate(words, (x, y), offset, textcoords="offset points", fontsize=10, color=color)
    ax.set(xlim=(-1.3, 2.3), ylim=(-1.1, 2.1), aspect="equal", xticks=(-1, 0, 1, 2), yticks=(-1, 0, 1, 2))
    ax.grid(visible=False)


def _loss(values: tuple[float, float], hessian: Tensor) -> float:
    # The mean square of the output's error: e H eᵀ.
    error = torch.tensor(values) - torch.tensor(WEIGHTS)
    return float(error @ hessian @ error)


def _ellipses(ax: Axes, hessian: Tensor, losses: list[float]) -> None:
    # Pairs of values whose outputs are as wrong as each of `losses` says.
    angles = torch.linspace(0, 2 * torch.pi, 200)
    circle = torch.stack((angles.cos(), angles.sin()))
    shape = torch.linalg.solve_triangular(torch.linalg.cholesky(hessian).T, circle, upper=True)
    for loss in losses:
        x, y = loss**0.5 * shape + torch.tensor(WEIGHTS)[:, None]
        ax.plot(x, y, color=plots.INK, linewidth=1.1, linestyle=":")
