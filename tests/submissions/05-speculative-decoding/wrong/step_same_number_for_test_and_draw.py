"""Uses the number that refused the draft to draw from the residual.

loses: sampling-step-test
"""

# %% nbgrader={"grade": false, "grade_id": "sampling-step", "locked": false, "schema_version": 3, "solution": true, "task": false}
def sampling_step(target_probs, draft_probs, draft_tokens):
    tokens = []
    for p, q, token in zip(target_probs, draft_probs, draft_tokens):
        u = torch.rand(())
        if u >= acceptance_probability(p, q)[token]:
            r = residual(p, q)
            return tokens + [min(int((r.cumsum(0) <= u).sum()), len(r) - 1)]
        tokens.append(token)
    return tokens + [int(torch.multinomial(target_probs[-1], 1))]
