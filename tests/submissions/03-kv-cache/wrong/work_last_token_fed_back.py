"""With a cache the last token of the reply is counted too, as if it were fed back to the model.

loses: work-test
"""

# %% nbgrader={"grade": false, "grade_id": "work", "locked": false, "schema_version": 3, "solution": true, "task": false}
def positions_processed(prompt_tokens, new_tokens):

    without_cache = sum(prompt_tokens + i for i in range(new_tokens))
    with_cache = prompt_tokens + new_tokens if new_tokens else 0
    return without_cache, with_cache
