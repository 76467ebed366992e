"""Returns the draft.

loses: sampling-step-test
"""

# %% nbgrader={"grade": false, "grade_id": "sampling-step", "locked": false, "schema_version": 3, "solution": true, "task": false}
def sampling_step(target_probs, draft_probs, draft_tokens):
    return list(draft_tokens)
