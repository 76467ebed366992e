"""Counts a prefill for an empty reply, although the model isn't called.

loses: work-test
"""

# %% nbgrader={"grade": false, "grade_id": "work", "locked": false, "schema_version": 3, "solution": true, "task": false}
def positions_processed(prompt_tokens, new_tokens):

    """Positions that a model computes to generate `new_tokens` tokens after a prompt."""
    without_cache = 0
    for step in range(new_tokens):
        without_cache += prompt_tokens + step
    with_cache = prompt_tokens + max(new_tokens - 1, 0)
    return without_cache, with_cache
