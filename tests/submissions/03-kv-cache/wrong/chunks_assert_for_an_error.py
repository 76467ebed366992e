"""Checks with assert, which raises AssertionError and is gone under python -O.

loses: chunked-prefill-test
"""

# %% nbgrader={"grade": false, "grade_id": "chunked-prefill", "locked": false, "schema_version": 3, "solution": true, "task": false}
def prefill_in_chunks(model, prompt, cache, chunk_size):
    """Feed a prompt in chunks of `chunk_size` tokens."""
    assert chunk_size >= 1 and len(prompt) > 0
    for i in range(0, len(prompt), chunk_size):
        logits = model(torch.tensor([prompt[i : i + chunk_size]]), cache)
    return logits[0, -1]
