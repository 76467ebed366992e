"""Makes chunk_size chunks instead of chunks of that size.

loses: chunked-prefill-test
"""

# %% nbgrader={"grade": false, "grade_id": "chunked-prefill", "locked": false, "schema_version": 3, "solution": true, "task": false}
def prefill_in_chunks(model, prompt, cache, chunk_size):
    if chunk_size < 1 or len(prompt) < 1:
        raise ValueError("nothing to feed")
    for chunk in torch.tensor(prompt).chunk(chunk_size):
        logits = model(chunk[None], cache)
    return logits[0, -1]
