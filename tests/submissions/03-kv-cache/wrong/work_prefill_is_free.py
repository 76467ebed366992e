"""With a cache only the reply is counted, as if the prompt had been in the cache already.

loses: work-test
"""

# %% nbgrader={"grade": false, "grade_id": "work", "locked": false, "schema_version": 3, "solution": true, "task": false}
def positions_processed(prompt_tokens, new_tokens):

    without_cache = sum(prompt_tokens + i for i in range(new_tokens))
    return without_cache, new_tokens
