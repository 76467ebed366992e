"""Writes the table of scores to HBM, block by block.

loses: flash-forward-test, flash-traffic-test
told: nothing of the size of the table of scores
"""

# %% nbgrader={"grade": false, "grade_id": "flash-forward", "locked": false, "schema_version": 3, "solution": true, "task": false}
def flash_forward(hbm, block_q, block_k):
    queries, head_dim = hbm.shape("q")
    keys = hbm.shape("k")[0]
    hbm.new("s", queries, keys)
    for start in range(0, queries, block_q):
        q = hbm.load("q", start, start + block_q)
        parts = []
        for first in range(0, keys, block_k):
            parts.append(q @ hbm.load("k", first, first + block_k).T / head_dim**0.5)
        hbm.store("s", start, torch.cat(parts, dim=1))
    hbm.free("q")
    hbm.free("k")
    for start in range(queries):
        s = hbm.load("s", start, start + 1)
        p, o = torch.softmax(s, -1), 0
        hbm.store("lse", start, torch.logsumexp(s, -1))
        hbm.free("s")
        for first in range(0, keys, block_k):
            o = o + p[:, first : first + block_k] @ hbm.load("v", first, first + block_k)
        hbm.store("o", start, o)
        hbm.free("v")
