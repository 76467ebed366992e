"""Feeds the rest first, so that the last chunk is a full one.

loses: chunked-prefill-test
told: full chunks of chunk_size tokens, and then one for the rest
"""

# %% nbgrader={"grade": false, "grade_id": "chunked-prefill", "locked": false, "schema_version": 3, "solution": true, "task": false}
def prefill_in_chunks(model, prompt, cache, chunk_size):
    if chunk_size < 1 or len(prompt) < 1:
        raise ValueError("nothing to feed")
    rest = len(prompt) % chunk_size
    bounds = ([0] if rest else []) + list(range(rest, len(prompt) + 1, chunk_size))
    for start, end in zip(bounds, bounds[1:]):
        logits = model(torch.tensor([prompt[start:end]]), cache)
    return logits[0, -1]
