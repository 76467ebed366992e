"""Packs in int8, where the high half's first bit is a sign.

loses: packing-test, linear-4bit-test
"""

# %% nbgrader={"grade": false, "grade_id": "packing", "locked": false, "schema_version": 3, "solution": true, "task": false}
def pack_4bit(codes, fill=0):
    if len(codes) and not 0 <= codes.min() <= codes.max() <= 15:
        raise ValueError("a code must be from 0 to 15")
    codes = codes.to(torch.int8)
    if len(codes) % 2:
        codes = torch.cat((codes, codes.new_tensor([fill])))
    return codes[0::2] << 4 | codes[1::2]


def unpack_4bit(packed, count):
    if len(packed) != (count + 1) // 2:
        raise ValueError(f"{len(packed)} bytes don't hold {count} codes")
    return torch.stack((packed >> 4, packed & 15), dim=1).flatten()[:count]
