"""The matrix products, where nearly all of a step's time goes, and two ways to make them cheaper than `nn.Linear`.

`PackedLinear` lays the float32 weights out once in the order in which oneDNN reads them. `Int8Linear` reads a quarter
of the bytes and multiplies integers: unit 02's LLM.int8() idea (Dettmers et al. 2022) without its outlier columns.
"""

import warnings

import torch
from torch import Tensor

LARGEST_INT8 = 127


class PackedLinear:
    """x @ weight.T in float32. `weight`: [out, in], no bias."""

    def __init__(self, weight: Tensor):
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), None)

    def __call__(self, x: Tensor) -> Tensor:
        """[tokens, in] -> [tokens, out]"""
        return torch.ops.mkldnn._linear_pointwise(x, self._weight, None, "none", [], "")


class Int8Linear:
    """x @ weight.T with 8-bit codes on both sides and a scale for each row of each. `weight`: [out, in], no bias.

    PyTorch's operation has a single scale for all of x. One token with huge activations, as the first of a text has
    in SmolLM2, would cost all others their precision; so each row is divided by its own largest value first.
    """

    def __init__(self, weight: Tensor):
        scale = weight.abs().amax(1).double().clamp(min=1e-12) / LARGEST_INT8
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*deprecated and will be removed in a future PyTorch")
            codes = torch.quantize_per_channel(weight, scale, torch.zeros(len(scale)).long(), 0, torch.qint8)
        self._weight = torch.ops.quantized.linear_prepack(codes, None)
        # Without VNNI instructions, sums of 8-bit products overflow 16 bits: PyTorch then takes 7 bits for x.
        self._seven_bits = not torch.cpu._is_vnni_supported()

    def __call__(self, x: Tensor) -> Tensor:
        """[tokens, in] -> [tokens, out]"""
        largest = x.abs().amax(1, keepdim=True).clamp_(min=1e-12)
        return torch.ops.quantized.linear_dynamic(x / largest, self._weight, self._seven_bits).mul_(largest)
