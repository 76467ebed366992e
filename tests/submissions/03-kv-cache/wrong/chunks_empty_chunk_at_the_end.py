"""Adds a chunk for the rest also where no rest is left.

loses: chunked-prefill-test
"""

# %% nbgrader={"grade": false, "grade_id": "chunked-prefill", "locked": false, "schema_version": 3, "solution": true, "task": false}
def prefill_in_chunks(model, prompt, cache, chunk_size):
    if chunk_size < 1 or len(prompt) < 1:
        raise ValueError("nothing to feed")
    full = len(prompt) // chunk_size
    for i in range(full + 1):
        logits = model(torch.tensor([prompt[i * chunk_size : (i + 1) * chunk_size]]), cache)
    return logits[0, -1]
