"""Adds what is missing to a full block, and rounds down."""

# %% nbgrader={"grade": false, "grade_id": "{exercise}", "locked": false, "schema_version": 3, "solution": true, "task": false}
def {function}(tokens, block_size):
    return (tokens + block_size - 1) // block_size
