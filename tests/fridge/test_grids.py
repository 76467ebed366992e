"""The grids that unit 07's quantizers round to."""

import pytest
import torch

from fridge.quantization import grids


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_no_weight_moves_by_more_than_a_step(bits):
    """A zero point that is rounded shifts the grid by half a step at most, which the ends of a row may lose."""
    weight = torch.randn(16, 64, generator=torch.Generator().manual_seed(bits))
    grid = grids.fit(weight, bits)
    moved = (grid.round(weight) - weight).abs()
    assert (moved <= 1.001 * grid.scale).all()
    assert (moved <= 0.501 * grid.scale).float().mean() > 0.9


def test_codes_and_zero_points_are_whole_and_in_range():
    """Keras' GPTQ let zero points leave the range: rows of one sign are where that shows."""
    weight = torch.tensor([[1.0, 2.0, 3.0], [-3.0, -2.0, -1.0], [0.0, 0.0, 0.0], [1e-30, 0.0, -1e-30]])
    grid = grids.fit(weight, 3)
    assert grid.zero_point.flatten().tolist()[:3] == [0, 7, 0]
    codes = grid.codes(1000 * weight)
    assert codes.dtype == torch.int32
    assert codes.min() >= 0
    assert codes.max() <= 7
    assert grid.values(codes).isfinite().all()


def test_zero_stays_zero():
    """What isn't there must not weigh anything, whatever the row's ends."""
    weight = torch.tensor([[0.0, 0.3, 5.1], [-7.3, 0.0, 0.2]])
    assert (grids.fit(weight, 3).round(weight)[weight == 0] == 0).all()


def test_a_group_that_is_shorter_has_a_grid_too():
    """576 columns in groups of 128 leave 64."""
    assert [group.stop - group.start for group in grids.groups(576, 128)] == [128] * 4 + [64]
    assert list(grids.groups(5, None)) == [slice(0, 5)]
    weight = torch.randn(4, 10, generator=torch.Generator().manual_seed(0))
    parts = [grids.round_to_nearest(weight[:, cut], 3) for cut in (slice(0, 4), slice(4, 8), slice(8, 10))]
    assert torch.equal(grids.round_to_nearest(weight, 3, 4), torch.cat(parts, 1))
