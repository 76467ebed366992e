"""Keeps the models that a test lent and calls them later, in a cell and in the next test."""

# %% nbgrader={"grade_id": "generate", "solution": true, "grade": false}
import torch
kept = []
def generate(model, prompt, max_new_tokens, cache, stop_token=None):
    kept.append(model)
    return []

# %% nbgrader={"grade_id": "chunked-prefill", "solution": true, "grade": false}
def prefill_in_chunks(model, prompt, cache, chunk_size):
    for old in kept:
        old(torch.tensor([[11]]))
    return torch.zeros(64)

# %% after="work-test"
print("a cell that comes before")

# %% after="generate-test"
import torch
print(len(kept), "kept")
for model in kept:
    print("LEAKED", model(torch.tensor([[11]])))
