"""Adds a cell of its own that claims to be graded, with 100 points."""

# %% nbgrader={"grade_id": "work", "solution": true, "grade": false}
def positions_processed(prompt_tokens, new_tokens):
    return 1, 1
