"""Without a cache every step counts the prompt only; the reply never makes it longer.

loses: work-test
"""

# %% nbgrader={"grade": false, "grade_id": "work", "locked": false, "schema_version": 3, "solution": true, "task": false}
def positions_processed(prompt_tokens, new_tokens):

    if new_tokens == 0:
        return 0, 0
    return prompt_tokens * new_tokens, prompt_tokens + new_tokens - 1
