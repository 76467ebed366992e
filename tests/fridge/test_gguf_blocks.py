"""fridge.testing.gguf_blocks: packed as ggml unpacks them; the first block that differs is told."""

import struct

import numpy as np
import pytest
from gguf import GGMLQuantizationType, quants

from fridge.testing import Wrong, expect_blocks, pack_q4_k, pack_q6_k, random_blocks


def values(kind, raw):
    return quants.dequantize(np.frombuffer(raw, np.uint8), GGMLQuantizationType[kind])


def test_packed_blocks_unpack_to_their_codes():
    """Guards against packers that share an exercise's mistakes: gguf-py unpacks."""
    random = np.random.default_rng(1)
    codes, scales = random.integers(-32, 32, 256), random.integers(-128, 128, 16)
    raw = pack_q6_k(codes.tolist(), scales.tolist(), 0.5)
    assert values("Q6_K", raw).tolist() == (0.5 * scales.repeat(16) * codes).tolist()
    codes, scales, minima = random.integers(0, 16, 256), random.integers(0, 64, 8), random.integers(0, 64, 8)
    raw = pack_q4_k(codes.tolist(), scales.tolist(), minima.tolist(), 0.5, -0.25)
    assert values("Q4_K", raw).tolist() == (0.5 * scales.repeat(32) * codes + 0.25 * minima.repeat(32)).tolist()


@pytest.mark.parametrize("kind", ["F16", "Q4_0", "Q4_1", "Q8_0", "Q4_K", "Q6_K"])
def test_random_blocks_are_finite_of_both_signs_and_the_same_again(kind):
    """Guards against blocks of NaN, of which all answers are wrong, and tests that pass by chance."""
    raw = random_blocks(kind, 50, seed=3)
    found = values(kind, raw)
    assert np.isfinite(found).all()
    assert found.min() < 0 < found.max()
    assert raw == random_blocks(kind, 50, seed=3) != random_blocks(kind, 50, seed=4)


def test_the_first_block_that_differs_is_told():
    """Guards against two lines of bytes, of which a learner learns nothing."""
    right = struct.pack("<e32b", 0.5, *range(32)) * 2
    wrong = struct.pack("<e32b", 0.5, *range(32)) + struct.pack("<e32b", 0.5, *range(31), 99)
    with pytest.raises(Wrong, match="codes 26 to 31 of block 1"):
        expect_blocks(wrong, right, "Q8_0", "two blocks")
    with pytest.raises(Wrong, match="scale of block 0"):
        expect_blocks(struct.pack("<e32b", 0.25, *range(32)) * 2, right, "Q8_0", "two blocks")
    with pytest.raises(Wrong, match="67 bytes"):
        expect_blocks(right[:-1], right, "Q8_0", "two blocks")
    with pytest.raises(Wrong, match="68 bytes"):
        expect_blocks(bytearray(right), right, "Q8_0", "two blocks")


def test_a_scale_of_zero_may_have_either_sign():
    """Guards against zeros that are refused for their sign: ggml's own tools disagree about it."""
    expect_blocks(struct.pack("<e16s", -0.0, b"\x88" * 16), struct.pack("<e16s", 0.0, b"\x88" * 16), "Q4_0", "zeros")
