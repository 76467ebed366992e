"""Ignores the draft and draws from the target: the right distribution, and no use.

loses: sampling-step-test
told: the number of accepted drafts: 1 | with probability min(1, p / q)
"""

# %% nbgrader={"grade": false, "grade_id": "sampling-step", "locked": false, "schema_version": 3, "solution": true, "task": false}
def sampling_step(target_probs, draft_probs, draft_tokens):
    return [int(torch.multinomial(target_probs[0], 1))]
