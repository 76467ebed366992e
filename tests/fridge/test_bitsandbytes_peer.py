"""fridge.quantization.bitsandbytes_peer: one known line is silenced, and nothing else."""

import logging

import pytest
import torch

bnb = pytest.importorskip("bitsandbytes")

from fridge.quantization import bitsandbytes_peer  # noqa: E402
from fridge.quantization.bitsandbytes_peer import NOISE, NOISY_LOGGER  # noqa: E402


@pytest.fixture
def logger():
    """bitsandbytes' logger, with the course's filter, and without it afterwards."""
    noisy = logging.getLogger(NOISY_LOGGER)
    before = list(noisy.filters)
    bitsandbytes_peer.silence_casts()
    yield noisy
    noisy.filters[:] = before


def test_the_line_is_still_the_one_that_bitsandbytes_logs(caplog, monkeypatch):
    """Guards against a new release that words it differently: learners would see thousands of lines again."""
    monkeypatch.setattr(logging.getLogger(NOISY_LOGGER), "filters", [])  # of whoever loaded a model before
    layer = bnb.nn.Linear8bitLt(64, 8, bias=False, has_fp16_weights=False).to("cpu").eval()
    with caplog.at_level(logging.WARNING, logger=NOISY_LOGGER), torch.no_grad():
        layer(torch.ones(2, 64))
    assert NOISE in {record.msg for record in caplog.records}


def test_the_casts_are_silent(logger, caplog):
    """Guards against a filter that isn't reached: on the wrong logger, or on a handler."""
    layer = bnb.nn.Linear8bitLt(64, 8, bias=False, has_fp16_weights=False).to("cpu").eval()
    with caplog.at_level(logging.WARNING), torch.no_grad():
        layer(torch.ones(2, 64))
    assert not [record for record in caplog.records if "cast" in record.getMessage()]


@pytest.mark.parametrize("message", ["MatMul8bitLt: inputs will be cast from %s to int8", "something is wrong: %s"])
def test_other_warnings_of_the_same_logger_are_shown(logger, caplog, message):
    """Guards against hiding real warnings with the noise."""
    with caplog.at_level(logging.WARNING):
        logger.warning(message, "float32")
    assert [record.msg for record in caplog.records] == [message]


def test_silencing_twice_adds_one_filter(logger):
    """Each `load` silences; a notebook loads three times."""
    before = len(logger.filters)
    bitsandbytes_peer.silence_casts()
    assert len(logger.filters) == before


def test_other_bits_are_refused():
    """The message says what there is, before anything is loaded."""
    with pytest.raises(ValueError, match="4 or 8 bits, not to 3"):
        bitsandbytes_peer.load(bits=3)


@pytest.mark.parametrize("double", [False, True])
def test_nf4_of_is_what_quantize_4bit_returns(double):
    """Guards against reading the nested absmax as if it were the real one."""
    weight = torch.randn(8, 96, generator=torch.Generator().manual_seed(0))
    layer = torch.nn.Module()
    layer.weight = bnb.nn.Params4bit(
        weight.clone(), requires_grad=False, quant_type="nf4", compress_statistics=double
    ).to("cpu")
    packed, absmax = bitsandbytes_peer.nf4_of(layer)
    expected, state = bnb.functional.quantize_4bit(weight, quant_type="nf4")
    assert torch.equal(packed, expected.flatten())
    assert torch.allclose(absmax, state.absmax, rtol=0.02 if double else 0, atol=0)


def test_nf4_of_refuses_a_layer_in_another_order():
    """Guards against comparing with codes that AVX-512's kernel has reordered: thousands would differ."""
    layer = torch.nn.Module()
    layer.weight = bnb.nn.Params4bit(torch.ones(8, 64), requires_grad=False, quant_type="nf4").to("cpu")
    layer.weight.quant_state.packing_format_for_cpu = True
    with pytest.raises(ValueError, match="called before"):
        bitsandbytes_peer.nf4_of(layer)
