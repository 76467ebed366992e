"""Returns the draft alone when all is accepted.

loses: sampling-step-test
"""

# %% nbgrader={"grade": false, "grade_id": "sampling-step", "locked": false, "schema_version": 3, "solution": true, "task": false}
def sampling_step(target_probs, draft_probs, draft_tokens):
    tokens = []
    for p, q, token in zip(target_probs, draft_probs, draft_tokens):
        if torch.rand(()) >= acceptance_probability(p, q)[token]:
            return tokens + [int(torch.multinomial(residual(p, q), 1))]
        tokens.append(token)
    return tokens
