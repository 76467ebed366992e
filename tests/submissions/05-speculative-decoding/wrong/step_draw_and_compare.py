"""Draws from the target and keeps the draft as long as the draws agree: right, and rarely accepted.

loses: sampling-step-test
"""

# %% nbgrader={"grade": false, "grade_id": "sampling-step", "locked": false, "schema_version": 3, "solution": true, "task": false}
def sampling_step(target_probs, draft_probs, draft_tokens):
    tokens = []
    for place, row in enumerate(target_probs):
        tokens.append(int(torch.multinomial(row, 1)))
        if place == len(draft_tokens) or tokens[-1] != draft_tokens[place]:
            break
    return tokens
