"""Keeps both tables in SRAM.

loses: naive-attention-test
told: each step loads its inputs once
"""

# %% nbgrader={"grade": false, "grade_id": "naive-attention", "locked": false, "schema_version": 3, "solution": true, "task": false}
def naive_attention(hbm):
    q, k = hbm.load("q"), hbm.load("k")
    hbm.store("o", 0, torch.softmax(q @ k.T / q.shape[1] ** 0.5, dim=-1) @ hbm.load("v"))
