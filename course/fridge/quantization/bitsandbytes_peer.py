"""The course's model as bitsandbytes quantizes it: through transformers' `BitsAndBytesConfig`, on a CPU or a GPU.

On a CPU bitsandbytes' 8-bit layers log the same harmless line at every call (inputs that aren't float16 are cast, which
is how LLM.int8() is defined), some thousands in a notebook. `load` silences that one line and nothing else.
"""

import logging
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, PreTrainedModel
from transformers.utils import logging as hf_logging

from fridge import models

NOISY_LOGGER = "bitsandbytes.autograd._functions"
NOISE = "MatMul8bitLt: inputs will be cast from %s to float16 during quantization"


class WithoutNoise(logging.Filter):
    """Drops the records of one message, by its text before the arguments are filled in."""

    def filter(self, record: logging.LogRecord) -> bool:
        """False for the noise, True for all else."""
        return record.msg != NOISE


def load(
    bits: int = 4,
    double_quant: bool = False,
    device: torch.device | str | None = None,
    source: str | Path | None = None,
) -> PreTrainedModel:
    """A model with its linear layers quantized by bitsandbytes; the head and the embedding stay.

    Args:
        bits: 8 for LLM.int8(), 4 for NF4 in blocks of 64.
        double_quant: of NF4's absmax values.
        device: default `models.default_device()`.
        source: a folder, or an id on the hub; default the chosen model, `models.folder()`.

    Raises:
        ValueError: other bits.
    """
    if bits not in (4, 8):
        raise ValueError(f"bitsandbytes quantizes to 4 or 8 bits, not to {bits}")
    silence_casts()
    hf_logging.disable_progress_bar()
    device = torch.device(device or models.default_device())
    dtype = models.default_dtype(device)
    if bits == 8:
        config = BitsAndBytesConfig(load_in_8bit=True)
    else:
        config = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=double_quant,
            bnb_4bit_compute_dtype=dtype,
        )
    model = AutoModelForCausalLM.from_pretrained(
        source or models.folder(), quantization_config=config, device_map={"": device}, dtype=dtype
    )
    _leave_the_file(model)
    return model.eval()


def _leave_the_file(model: nn.Module) -> None:
    # On a CPU, what isn't quantized lies in the mapped checkpoint, all of which would stay in memory for its sake.
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.device.type == "cpu" and tensor.is_floating_point():
            tensor.data = tensor.data.clone()


def silence_casts() -> None:
    """Drop bitsandbytes' line about casting inputs to float16. Calling it again changes nothing."""
    logger = logging.getLogger(NOISY_LOGGER)
    if not any(isinstance(present, WithoutNoise) for present in logger.filters):
        logger.addFilter(WithoutNoise())


def nf4_of(layer: nn.Module) -> tuple[Tensor, Tensor]:
    """(packed codes [bytes], absmax [blocks]) of a bitsandbytes 4-bit layer that was not called yet.

    Raises:
        ValueError: the layer was called; on some processors the first call brings the codes into another order.
    """
    state = layer.weight.quant_state
    if getattr(state, "packing_format_for_cpu", False):
        raise ValueError("this layer was called before, and bitsandbytes has put its codes into another order")
    absmax = state.absmax
    if state.nested:
        from bitsandbytes.functional import dequantize_blockwise

        absmax = dequantize_blockwise(state.absmax, state.state2) + state.offset
    return layer.weight.data.flatten(), absmax.float()


def stored_bytes(model: nn.Module) -> int:
    """Bytes of a model's tensors with the quantizer's own (absmax, code books), which are no parameters."""
    total = sum(tensor.nbytes for tensor in {id(t): t for t in [*model.parameters(), *model.buffers()]}.values())
    for module in model.modules():
        state = getattr(getattr(module, "weight", None), "quant_state", None)
        for part in filter(None, (state, getattr(state, "state2", None))):
            total += sum(value.nbytes for value in vars(part).values() if isinstance(value, Tensor))
        scales = getattr(getattr(module, "weight", None), "SCB", None)
        scales = scales if scales is not None else getattr(getattr(module, "state", None), "SCB", None)
        total += scales.nbytes if scales is not None else 0
    return total
