"""Loads all keys and values at once.

loses: flash-forward-test, flash-traffic-test
told: more rows than a block at once
"""

# %% nbgrader={"grade": false, "grade_id": "flash-forward", "locked": false, "schema_version": 3, "solution": true, "task": false}
def flash_forward(hbm, block_q, block_k):
    k, v = hbm.load("k"), hbm.load("v")
    for start in range(0, hbm.shape("q")[0], block_q):
        q = hbm.load("q", start, start + block_q)
        scores = q @ k.T / q.shape[1] ** 0.5
        hbm.store("o", start, torch.softmax(scores, -1) @ v)
        hbm.store("lse", start, torch.logsumexp(scores, -1))
