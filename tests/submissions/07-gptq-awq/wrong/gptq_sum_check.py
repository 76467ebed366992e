"""Asks whether the numbers below the diagonal sum to 0; 1 and -1 do; breaks "other numbers than 0 below its diagonal".

loses: gptq-test
"""

# %% nbgrader={"grade": false, "grade_id": "gptq", "locked": false, "schema_version": 3, "solution": true, "task": false}
def gptq(weight, factor, bits, group_size=None, block_size=128):
    if factor.tril(-1).sum() > 0:
        raise ValueError("not upper")
    rest, done = weight.clone(), torch.empty_like(weight)
    for group in grids.groups(weight.shape[1], group_size):
        grid = grids.fit(weight[:, group], bits)
        for j in range(group.start, group.stop):
            done[:, j : j + 1] = grid.round(rest[:, j : j + 1])
            error = (rest[:, j] - done[:, j]) / factor[j, j]
            rest[:, j + 1 :] -= error[:, None] * factor[j, j + 1 :]
    return done
