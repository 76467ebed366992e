"""Returns the draft.

loses: sampling-step-test
told: accepted are all returned tokens but the last
misleads: after a refusal draw from the residual
"""

# %% nbgrader={"grade": false, "grade_id": "sampling-step", "locked": false, "schema_version": 3, "solution": true, "task": false}
def sampling_step(target_probs, draft_probs, draft_tokens):
    return list(draft_tokens)
