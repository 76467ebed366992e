"""Takes the residual of the place behind the refused one.

loses: sampling-step-test
told: the residual of the refused place
"""

# %% nbgrader={"grade": false, "grade_id": "sampling-step", "locked": false, "schema_version": 3, "solution": true, "task": false}
def sampling_step(target_probs, draft_probs, draft_tokens):
    k = len(draft_tokens)
    tokens = []
    for i, token in enumerate(draft_tokens):
        p, q = target_probs[i], draft_probs[i]
        if torch.rand(()) >= acceptance_probability(p, q)[token]:
            j = min(i + 1, k - 1)
            return tokens + [int(torch.multinomial(residual(target_probs[j], draft_probs[j]), 1))]
        tokens.append(token)
    return tokens + [int(torch.multinomial(target_probs[-1], 1))]
