"""Loads all keys and values again for each query.

loses: naive-attention-test
told: each step loads its inputs once
"""

# %% nbgrader={"grade": false, "grade_id": "naive-attention", "locked": false, "schema_version": 3, "solution": true, "task": false}
def naive_attention(hbm):
    queries, head_dim = hbm.shape("q")
    hbm.new("s", queries, hbm.shape("k")[0])
    hbm.new("p", queries, hbm.shape("k")[0])
    for i in range(queries):
        hbm.store("s", i, hbm.load("q", i, i + 1) @ hbm.load("k").T / head_dim**0.5)
        hbm.store("p", i, torch.softmax(hbm.load("s", i, i + 1), dim=-1))
        hbm.store("o", i, hbm.load("p", i, i + 1) @ hbm.load("v"))
