"""Asks a test's cache for its length for ever."""

# %% nbgrader={"grade_id": "generate", "solution": true, "grade": false}
def generate(model, prompt, max_new_tokens, cache, stop_token=None):
    while True:
        len(cache)
