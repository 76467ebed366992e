"""Looks below the diagonal within blocks only; breaks "ValueError: factor has other numbers than 0 below its diagonal".

loses: gptq-test
"""

# %% nbgrader={"grade": false, "grade_id": "gptq", "locked": false, "schema_version": 3, "solution": true, "task": false}
def gptq(weight, factor, bits, group_size=None, block_size=128):
    for at in range(0, len(factor), block_size):
        if factor[at : at + block_size, at : at + block_size].tril(-1).any():
            raise ValueError("not upper")
    rows, columns = weight.shape
    size = group_size or columns
    rest, done = weight.clone(), torch.empty_like(weight)
    for start in range(0, columns, block_size):
        stop = min(start + block_size, columns)
        block = rest[:, start:stop].clone()
        errors = torch.zeros(rows, stop - start)
        for j in range(start, stop):
            i = j - start
            if j % size == 0:
                grid = grids.fit(weight[:, j : j + size], bits)
            done[:, j : j + 1] = grid.round(block[:, i : i + 1])
            errors[:, i] = (block[:, i] - done[:, j]) / factor[j, j]
            block[:, i + 1 :] -= errors[:, i, None] * factor[j, j + 1 : stop]
        rest[:, stop:] -= errors @ factor[start:stop, stop:]
    return done
