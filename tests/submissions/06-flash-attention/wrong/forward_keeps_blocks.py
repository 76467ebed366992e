"""Loads all tiles of the keys and values before it uses the first: more in SRAM than there is room for.

loses: flash-forward-test
"""

# %% nbgrader={"grade": false, "grade_id": "flash-forward", "locked": false, "schema_version": 3, "solution": true, "task": false}
def flash_forward(hbm, block_q, block_k):
    keys, head_dim = hbm.shape("k")
    for start in range(0, hbm.shape("q")[0], block_q):
        q = hbm.load("q", start, start + block_q)
        m, l, o = torch.full((len(q),), -torch.inf), torch.zeros(len(q)), torch.zeros_like(q)
        tiles = [
            (hbm.load("k", first, first + block_k), hbm.load("v", first, first + block_k))
            for first in range(0, keys, block_k)
        ]
        for k, v in tiles:
            scores = q @ k.T / head_dim**0.5
            new = torch.maximum(m, scores.amax(dim=-1))
            shrink, p = torch.exp(m - new), torch.exp(scores - new[:, None])
            l, o, m = l * shrink + p.sum(dim=-1), o * shrink[:, None] + p @ v, new
        hbm.store("o", start, o / l[:, None])
        hbm.store("lse", start, m + torch.log(l))
