"""Blocks of quantized weights for tests: random ones, and ones that are packed from chosen codes and scales.

Layouts after ggml's `ggml-common.h`; the two packers are the way back from what an exercise unpacks.
"""

import struct
from collections.abc import Sequence

import numpy as np
import torch

from fridge.testing.expect import InWords, wrong

# Kind -> (bytes of a block, where its float16 numbers begin).
_FORMS = {
    "F16": (2, (0,)),
    "Q4_0": (18, (0,)),
    "Q4_1": (20, (0, 2)),
    "Q8_0": (34, (0,)),
    "Q4_K": (144, (0, 2)),
    "Q6_K": (210, (208,)),
}


def random_blocks(kind: str, count: int, seed: int = 0, size: float = 0.02) -> bytes:
    """Blocks of random bytes whose float16 numbers are finite, of both signs, and of about this size."""
    width, halves = _FORMS[kind]
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randint(0, 256, (count, width), generator=generator, dtype=torch.uint8).numpy()
    for start in halves:
        numbers = (torch.randn(count, 1, generator=generator) * size).half()
        raw[:, start : start + 2] = numbers.numpy().view(np.uint8)
    return raw.tobytes()


def pack_q6_k(codes: Sequence[int], scales: Sequence[int], d: float) -> bytes:
    """A super-block of Q6_K.

    Args:
        codes: 256, from -32 to 31.
        scales: 16, from -128 to 127.
    """
    low, high = bytearray(128), bytearray(64)
    for place, code in enumerate(codes):
        half, rest = divmod(place, 128)
        quarter, column = divmod(rest, 32)
        low[64 * half + 32 * (quarter % 2) + column] |= ((code + 32) & 15) << 4 * (quarter // 2)
        high[32 * half + column] |= ((code + 32) >> 4) << 2 * quarter
    return bytes(low + high) + struct.pack("<16be", *scales, d)


def pack_q4_k(codes: Sequence[int], scales: Sequence[int], minima: Sequence[int], d: float, d_min: float) -> bytes:
    """A super-block of Q4_K.

    Args:
        codes: 256, from 0 to 15.
        scales, minima: eight each, from 0 to 63.
    """
    packed = bytearray(12)
    for part, (scale, minimum) in enumerate(zip(scales, minima, strict=True)):
        if part < 4:
            packed[part] |= scale
            packed[part + 4] |= minimum
        else:
            packed[part + 4] |= (scale & 15) | (minimum & 15) << 4
            packed[part - 4] |= (scale >> 4) << 6
            packed[part] |= (minimum >> 4) << 6
    rows = np.array(codes, dtype=np.uint8).reshape(4, 2, 32)
    return struct.pack("<2e", d, d_min) + bytes(packed) + (rows[:, 0] | rows[:, 1] << 4).tobytes()


def expect_blocks(got: object, expected: bytes, kind: str, what: str, cause: str = "") -> None:
    """The bytes of Q8_0 or Q4_0 blocks, scales and codes one after another; a scale of zero may have either sign.

    Raises:
        Wrong: no bytes, too many or too few, or others, with the first block that has them.
    """
    if type(got) is not bytes:
        raise wrong(what, f"{len(expected)} bytes", got, cause)
    if len(got) != len(expected):
        raise wrong(what, f"{len(expected)} bytes", InWords(f"{len(got)} bytes"), cause)
    width = _FORMS[kind][0]
    for block, start in enumerate(range(0, len(expected), width)):
        (mine, own), (scale, codes) = (_unpacked(kind, raw[start : start + width]) for raw in (got, expected))
        if own != codes:
            at = next(i for i, (one, other) in enumerate(zip(own, codes, strict=True)) if one != other)
            first = max(0, min(at - 2, 32 - 6))
            where = f"{what}: codes {first} to {first + 5} of block {block}"
            raise wrong(where, codes[first : first + 6], InWords(str(own[first : first + 6])), cause)
        if not (mine == scale or (np.isnan(mine) and np.isnan(scale))):
            raise wrong(f"{what}: scale of block {block}, float16", f"{scale:.7g}", InWords(f"{mine:.7g}"), cause)


def _unpacked(kind: str, block: bytes) -> tuple[float, list[int]]:
    scale = float(np.frombuffer(block[:2], "<f2")[0])
    if kind == "Q8_0":
        return scale, np.frombuffer(block[2:], np.int8).tolist()
    halves = np.frombuffer(block[2:], np.uint8)
    return scale, [*(halves & 15).tolist(), *(halves >> 4).tolist()]
