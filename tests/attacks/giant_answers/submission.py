"""Returns the largest tensors and lists that can cross where one number is expected."""

# %% nbgrader={"grade_id": "work", "solution": true, "grade": false}
import torch
def positions_processed(prompt_tokens, new_tokens):
    return [0] * 499_000, torch.zeros(2**23 - 10_000)

# %% nbgrader={"grade_id": "memory", "solution": true, "grade": false}
def kv_cache_bytes(*a, **k):
    return torch.zeros(2**25 - 1000, dtype=torch.int8)

# %% nbgrader={"grade_id": "causal-attention", "solution": true, "grade": false}
def causal_attention(q, k, v):
    return torch.zeros(2**24 - 1000, dtype=torch.float16)

# %% nbgrader={"grade_id": "generate", "solution": true, "grade": false}
def generate(model, prompt, max_new_tokens, cache, stop_token=None):
    model(torch.zeros(1, 4_000_000, dtype=torch.int64), cache)

# %% nbgrader={"grade_id": "chunked-prefill", "solution": true, "grade": false}
def prefill_in_chunks(model, prompt, cache, chunk_size):
    raise ValueError("x" * 30_000_000)
