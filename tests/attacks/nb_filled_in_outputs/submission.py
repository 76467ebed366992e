"""Submits test cells with outputs that look like full and more than full points."""

# %% nbgrader={"grade_id": "work", "solution": true, "grade": false}
def positions_processed(prompt_tokens, new_tokens):
    return 1, 1
