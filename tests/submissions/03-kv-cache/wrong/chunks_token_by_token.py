"""Feeds one token per call, whatever chunk_size says.

loses: chunked-prefill-test
told: full chunks of chunk_size tokens
"""

# %% nbgrader={"grade": false, "grade_id": "chunked-prefill", "locked": false, "schema_version": 3, "solution": true, "task": false}
def prefill_in_chunks(model, prompt, cache, chunk_size):
    """Feed a prompt in chunks of `chunk_size` tokens."""
    if chunk_size < 1:
        raise ValueError("chunk_size must be at least 1")
    if not prompt:
        raise ValueError("the prompt is empty")
    for token in prompt:
        logits = model(torch.tensor([[token]]), cache)
    return logits[0, -1]
