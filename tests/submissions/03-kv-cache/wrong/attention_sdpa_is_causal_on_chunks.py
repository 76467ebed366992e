"""Trusts SDPA's is_causal, whose triangle starts in the upper left corner also when positions are cached.

loses: causal-attention-test
"""

# %% nbgrader={"grade": false, "grade_id": "causal-attention", "locked": false, "schema_version": 3, "solution": true, "task": false}
import torch.nn.functional as F


def causal_attention(q, k, v):
    return F.scaled_dot_product_attention(q, k, v, is_causal=q.shape[2] > 1, enable_gqa=True)
