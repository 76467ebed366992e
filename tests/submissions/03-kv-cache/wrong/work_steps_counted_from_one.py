"""The steps without a cache run from p + 1 to p + n instead of p to p + n - 1.

loses: work-test
"""

# %% nbgrader={"grade": false, "grade_id": "work", "locked": false, "schema_version": 3, "solution": true, "task": false}
def positions_processed(prompt_tokens, new_tokens):

    if new_tokens == 0:
        return 0, 0
    without_cache = sum(prompt_tokens + step for step in range(1, new_tokens + 1))
    return without_cache, prompt_tokens + new_tokens - 1
