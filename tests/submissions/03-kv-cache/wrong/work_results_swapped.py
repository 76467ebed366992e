"""Returns the two numbers in the other order.

loses: work-test
"""

# %% nbgrader={"grade": false, "grade_id": "work", "locked": false, "schema_version": 3, "solution": true, "task": false}
def positions_processed(prompt_tokens, new_tokens):

    if new_tokens == 0:
        return 0, 0
    without_cache = sum(range(prompt_tokens, prompt_tokens + new_tokens))
    with_cache = prompt_tokens + new_tokens - 1
    return with_cache, without_cache
