"""Looks for an error after the model was called with the first token.

loses: chunked-prefill-test
told: check before you feed anything
"""

# %% nbgrader={"grade": false, "grade_id": "chunked-prefill", "locked": false, "schema_version": 3, "solution": true, "task": false}
def prefill_in_chunks(model, prompt, cache, chunk_size):
    logits, done = None, 0
    while done < len(prompt):
        chunk = prompt[done : done + max(chunk_size, 1)]
        logits = model(torch.tensor([chunk]), cache)
        done += chunk_size
        if chunk_size < 1:
            raise ValueError("chunk_size must be at least 1")
    if logits is None:
        raise ValueError("the prompt is empty")
    return logits[0, -1]
