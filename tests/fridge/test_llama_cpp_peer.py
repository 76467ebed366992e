"""fridge.quantization.llama_cpp_peer: llama.cpp runs a file and makes blocks, or says what to install."""

import numpy as np
import pytest
from gguf import GGMLQuantizationType, quants

from fridge import models
from fridge.quantization import llama_cpp_peer
from fridge.testing import GgufFile
from fridge.weights import embedded


@pytest.fixture
def installed():
    if not llama_cpp_peer.is_there():
        pytest.skip("xllamacpp isn't installed")


@pytest.mark.parametrize("kind", list(llama_cpp_peer.BLOCKS))
def test_blocks_come_back_as_about_the_same_values(installed, kind):
    """Guards against a number of ggml's that means another kind: gguf-py unpacks what llama.cpp packed."""
    values = np.random.default_rng(1).standard_normal((3, 512)).astype(np.float32)
    raw = llama_cpp_peer.blocks_of(values, kind)
    again = quants.dequantize(np.frombuffer(raw, np.uint8), GGMLQuantizationType[kind]).reshape(values.shape)
    assert np.abs(again - values).mean() < {"2": 0.35, "3": 0.2, "4": 0.1, "5": 0.05, "6": 0.03}[kind[1]]


def test_rows_that_do_not_fit_are_refused(installed):
    """Guards against llama.cpp reading beyond a row's end."""
    with pytest.raises(ValueError, match="rows of 576 as Q4_K"):
        llama_cpp_peer.blocks_of(np.zeros((2, 576), np.float32), "Q4_K")
    with pytest.raises(ValueError, match="as Q8_0"):
        llama_cpp_peer.blocks_of(np.zeros((2, 256), np.float32), "Q8_0")


def test_it_goes_on_with_a_prompt(installed):
    """Guards against a release that renames a parameter; the shipped file, greedily, twice the same."""
    file = models.gguf()
    found = llama_cpp_peer.reply(file, [504, 3575, 282, 4649, 314], new=3, threads=2)
    assert len(found.tokens) == 3
    assert found.per_second > 0
    assert found.tokens == llama_cpp_peer.reply(file, [504, 3575, 282, 4649, 314], new=3, threads=1).tokens


def test_a_file_that_it_can_not_load_is_told(installed, tmp_path):
    """Guards against a traceback of a process that nobody sees."""
    place = tmp_path / "broken.gguf"
    place.write_bytes(GgufFile().raw())
    with pytest.raises(ValueError, match="can't run"):
        llama_cpp_peer.reply(place, [1], new=1)


def test_it_says_what_to_install(monkeypatch):
    """Guards against an ImportError from another process."""
    monkeypatch.setattr(llama_cpp_peer, "is_there", lambda: False)
    with pytest.raises(llama_cpp_peer.Missing, match="pip install xllamacpp"):
        llama_cpp_peer.reply(embedded.REQUIREMENT, [1])
    with pytest.raises(llama_cpp_peer.Missing, match="pip install xllamacpp"):
        llama_cpp_peer.blocks_of(np.zeros((2, 256), np.float32), "Q4_K")
