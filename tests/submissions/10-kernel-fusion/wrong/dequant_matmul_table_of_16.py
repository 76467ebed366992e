"""Makes a table of all 16 values for each row and group: with short groups far more floats than a tile.

loses: dequant-matmul-test
told: a value for each code
"""

# %% nbgrader={"grade": false, "grade_id": "dequant-matmul", "locked": false, "schema_version": 3, "solution": true, "task": false}
def dequant_matmul(hbm, group, tile):
    """x @ W.T with 4-bit weights, of which never more than a tile is in float.

    Args:
        hbm: holds "x" [batch, columns] in float32; "codes" [rows, columns / 2] in uint8, two
            in a byte; "scale" and "minimum" [rows, groups] in float16; "y" [batch, rows] in
            float32 for the result.
        group: columns that share a scale and a minimum; the last group may be shorter.
        tile: rows of W at once, 1 or more; the last tile, or the only one, may be smaller.

    Computes in float32. Each array is loaded once, y stored once. No array in float that you
    make has more values than a tile of W, or than x or y where these have more.
    """
    x = hbm.load("x")
    batch, columns = x.shape
    rows = hbm.shape("codes")[0]
    group_of = torch.arange(columns) // group
    for first in range(0, rows, tile):
        packed = hbm.load("codes", first, first + tile)
        scale = hbm.load("scale", first, first + tile).float()
        minimum = hbm.load("minimum", first, first + tile).float()
        codes = torch.stack((packed >> 4, packed & 15), dim=-1).flatten(1)
        weight = (torch.arange(16.0) * scale[:, :, None] + minimum[:, :, None])[torch.arange(len(codes))[:, None], group_of, codes.long()]
        part = x @ weight.T
        for b in range(batch):
            hbm.store("y", first, part[b], row=b)
