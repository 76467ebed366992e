"""With quotient and remainder."""

# %% nbgrader={"grade": false, "grade_id": "{exercise}", "locked": false, "schema_version": 3, "solution": true, "task": false}
def {function}(tokens, block_size):
    full, rest = divmod(tokens, block_size)
    return full + (1 if rest else 0)
