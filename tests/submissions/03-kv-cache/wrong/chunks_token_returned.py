"""Chooses the token instead of returning its logits.

loses: chunked-prefill-test
told: return the logits [vocab_size]
misleads: those of the last position alone
"""

# %% nbgrader={"grade": false, "grade_id": "chunked-prefill", "locked": false, "schema_version": 3, "solution": true, "task": false}
def prefill_in_chunks(model, prompt, cache, chunk_size):
    """Feed a prompt in chunks of `chunk_size` tokens."""
    if chunk_size < 1:
        raise ValueError("chunk_size must be at least 1")
    if not prompt:
        raise ValueError("the prompt is empty")
    for i in range(0, len(prompt), chunk_size):
        logits = model(torch.tensor([prompt[i : i + chunk_size]]), cache)
    return int(logits[0, -1].argmax())
