"""Loads all of it at once.

loses: flash-backward-test, backward-traffic-test
told: more rows than a block at once
"""

# %% nbgrader={"grade": false, "grade_id": "flash-backward", "locked": false, "schema_version": 3, "solution": true, "task": false}
def flash_backward(hbm, block_q, block_k, causal):
    q, k, v, do, o, lse = (hbm.load(name) for name in ("q", "k", "v", "do", "o", "lse"))
    p = torch.exp(q @ k.T / q.shape[1] ** 0.5 - lse[:, None])
    if causal:
        p = p.tril(len(k) - len(q))
    ds = p * (do @ v.T - (do * o).sum(-1, keepdim=True)) / q.shape[1] ** 0.5
    hbm.store("dq", 0, ds @ k)
    hbm.store("dk", 0, ds.T @ q)
    hbm.store("dv", 0, p.T @ do)
