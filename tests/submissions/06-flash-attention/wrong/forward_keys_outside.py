"""The outer loop goes over the keys, and loads the queries again and again.

loses: flash-traffic-test
told: the outer loop goes over blocks of queries
"""

# %% nbgrader={"grade": false, "grade_id": "flash-forward", "locked": false, "schema_version": 3, "solution": true, "task": false}
def flash_forward(hbm, block_q, block_k):
    queries, head_dim = hbm.shape("q")
    m = torch.full((queries,), -torch.inf)
    l, o = torch.zeros(queries), torch.zeros(queries, head_dim)
    for first in range(0, hbm.shape("k")[0], block_k):
        k = hbm.load("k", first, first + block_k)
        v = hbm.load("v", first, first + block_k)
        for start in range(0, queries, block_q):
            part = slice(start, start + block_q)
            scores = hbm.load("q", start, start + block_q) @ k.T / head_dim**0.5
            new = torch.maximum(m[part], scores.amax(dim=-1))
            shrink, p = torch.exp(m[part] - new), torch.exp(scores - new[:, None])
            l[part] = l[part] * shrink + p.sum(dim=-1)
            o[part] = o[part] * shrink[:, None] + p @ v
            m[part] = new
    for start in range(0, queries, block_q):
        part = slice(start, start + block_q)
        hbm.store("o", start, o[part] / l[part][:, None])
        hbm.store("lse", start, m[part] + torch.log(l[part]))
