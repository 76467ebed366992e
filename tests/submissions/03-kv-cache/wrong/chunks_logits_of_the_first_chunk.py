"""Returns what the first chunk predicted.

loses: chunked-prefill-test
"""

# %% nbgrader={"grade": false, "grade_id": "chunked-prefill", "locked": false, "schema_version": 3, "solution": true, "task": false}
def prefill_in_chunks(model, prompt, cache, chunk_size):
    if chunk_size < 1 or len(prompt) < 1:
        raise ValueError("nothing to feed")
    logits = model(torch.tensor([prompt[:chunk_size]]), cache)
    for i in range(chunk_size, len(prompt), chunk_size):
        model(torch.tensor([prompt[i : i + chunk_size]]), cache)
    return logits[0, -1]
