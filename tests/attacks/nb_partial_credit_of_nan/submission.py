"""Replaces the test's source by an expression that is NaN, and a learner's cell shows numbers."""

# %% nbgrader={"grade_id": "work", "solution": true, "grade": false}
def positions_processed(prompt_tokens, new_tokens):
    return 1, 1

float('nan')

# %% after="work"
99.0

# %% after="work-test"
float('inf')
