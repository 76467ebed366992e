"""The textbook's rounding that GPTQ is tested against, and the layers that are chosen for it."""

import pytest
import torch
from matplotlib import pyplot as plt

from fridge import pictures
from fridge.quantization import grids
from fridge.testing import Wrong, brain_surgeon, expect_columns, quantized_layer, randn


def test_unrelated_inputs_leave_rounding_to_nearest():
    weight = randn(5, 13, seed=1)
    rounded, _ = brain_surgeon(weight, 7 * torch.eye(13, dtype=torch.float64), 3, 4)
    torch.testing.assert_close(rounded.float(), grids.round_to_nearest(weight, 3, 4))


def test_the_last_column_makes_up_for_the_first_by_the_best_change():
    # The first weight becomes 0 and errs by 0.4. The second is free: -H01 / H11 · (-0.4) = 0.32 is the best for it.
    hessian = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.8], [0.0, 0.8, 1.0]], dtype=torch.float64)
    rounded, margin = brain_surgeon(torch.tensor([[3.0, 0.4, 0.45]]), hessian, 2)
    assert rounded.tolist() == [[3.0, 0.0, 1.0]]
    assert margin == pytest.approx(0.1)  # of 0.4; 0.77 and the zero point are farther from a middle


@pytest.mark.parametrize("group_size", [None, 5])
def test_layers_cost_less_than_rounded_to_nearest(group_size):
    layer = quantized_layer(6, 22, 3, group_size, seed=3)
    nearest = grids.round_to_nearest(layer.weight, 3, group_size).double()

    def cost(rounded):
        error = rounded - layer.weight
        return float((error @ layer.hessian * error).sum())

    assert cost(layer.rounded) < 0.6 * cost(nearest)


def test_factor_is_that_of_the_inverse():
    layer = quantized_layer(2, 9, 3, dead=(0, 4))
    identity = layer.factor.double() @ layer.hessian @ layer.factor.double().T
    torch.testing.assert_close(identity, torch.eye(9, dtype=torch.float64), atol=1e-4, rtol=0)
    assert layer.hessian[4].count_nonzero() == 1


def test_the_first_column_that_is_off_is_told():
    layer = quantized_layer(3, 8, 3, seed=1)
    spoilt = layer.rounded.clone()
    spoilt[:, 5:] += 10
    spoilt[1, 5] += 1
    with pytest.raises(Wrong, match=r"a layer, column 5, the first that is off\n.* at \[1, 5\]"):
        expect_columns(spoilt, layer.rounded, "a layer")
    expect_columns(layer.rounded.float(), layer.rounded, "a layer")


def test_the_picture_states_what_it_draws():
    pictures.two_weights()
    # 0.1600 + 0.2025 + 1.6 · 0.18 = 0.6505, and 0.1600 + 0.3025 - 1.6 · 0.22 = 0.1105.
    assert "5.9 times" in plt.gca().get_title(loc="left")
    plt.close("all")
