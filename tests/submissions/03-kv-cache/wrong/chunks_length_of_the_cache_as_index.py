"""Reads its place in the prompt from the cache, which earlier turns have filled.

loses: chunked-prefill-test
"""

# %% nbgrader={"grade": false, "grade_id": "chunked-prefill", "locked": false, "schema_version": 3, "solution": true, "task": false}
def prefill_in_chunks(model, prompt, cache, chunk_size):
    if chunk_size < 1 or len(prompt) < 1:
        raise ValueError("nothing to feed")
    while len(cache) < len(prompt):
        done = len(cache)
        logits = model(torch.tensor([prompt[done : done + chunk_size]]), cache)
    return logits[0, -1]
