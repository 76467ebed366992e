"""Sets a seed inside, so that every call draws the same numbers.

loses: sampling-step-test
told: a fresh random number
misleads: after a refusal draw from the residual
"""

# %% nbgrader={"grade": false, "grade_id": "sampling-step", "locked": false, "schema_version": 3, "solution": true, "task": false}
def sampling_step(target_probs, draft_probs, draft_tokens):
    torch.manual_seed(0)
    tokens = []
    for p, q, token in zip(target_probs, draft_probs, draft_tokens):
        if torch.rand(()) >= acceptance_probability(p, q)[token]:
            return tokens + [int(torch.multinomial(residual(p, q), 1))]
        tokens.append(token)
    return tokens + [int(torch.multinomial(target_probs[-1], 1))]
