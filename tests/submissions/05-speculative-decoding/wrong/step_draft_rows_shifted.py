"""Compares with the drafter's probabilities of the place before.

loses: sampling-step-test
"""

# %% nbgrader={"grade": false, "grade_id": "sampling-step", "locked": false, "schema_version": 3, "solution": true, "task": false}
def sampling_step(target_probs, draft_probs, draft_tokens):
    tokens = []
    for i, token in enumerate(draft_tokens):
        p, q = target_probs[i], draft_probs[max(0, i - 1)]
        if torch.rand(()) >= acceptance_probability(p, q)[token]:
            return tokens + [int(torch.multinomial(residual(p, q), 1))]
        tokens.append(token)
    return tokens + [int(torch.multinomial(target_probs[-1], 1))]
