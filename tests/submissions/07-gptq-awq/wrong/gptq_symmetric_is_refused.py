"""Refuses symmetric matrices, so the identity, and takes a lower or full one; breaks the ValueError sentence both ways.

loses: gptq-test
"""

# %% nbgrader={"grade": false, "grade_id": "gptq", "locked": false, "schema_version": 3, "solution": true, "task": false}
def gptq(weight, factor, bits, group_size=None, block_size=128):
    if torch.equal(factor, factor.T) and not torch.equal(factor, torch.diag(factor.diagonal())):
        raise ValueError("this is H")
    rest, done = weight.clone(), torch.empty_like(weight)
    for group in grids.groups(weight.shape[1], group_size):
        grid = grids.fit(weight[:, group], bits)
        for j in range(group.start, group.stop):
            done[:, j : j + 1] = grid.round(rest[:, j : j + 1])
            error = (rest[:, j] - done[:, j]) / factor[j, j]
            rest[:, j + 1 :] -= error[:, None] * factor[j, j + 1 :]
    return done
