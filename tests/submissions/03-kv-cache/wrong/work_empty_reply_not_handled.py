"""The formula with a cache gives p - 1 for an empty reply, which costs nothing.

loses: work-test
"""

# %% nbgrader={"grade": false, "grade_id": "work", "locked": false, "schema_version": 3, "solution": true, "task": false}
def positions_processed(prompt_tokens, new_tokens):

    n, p = new_tokens, prompt_tokens
    return n * p + n * (n - 1) // 2, p + n - 1
