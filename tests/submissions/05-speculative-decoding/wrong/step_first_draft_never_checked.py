"""Keeps the first draft unseen.

loses: sampling-step-test
"""

# %% nbgrader={"grade": false, "grade_id": "sampling-step", "locked": false, "schema_version": 3, "solution": true, "task": false}
def sampling_step(target_probs, draft_probs, draft_tokens):
    tokens = list(draft_tokens[:1])
    for i in range(1, len(draft_tokens)):
        p, q, token = target_probs[i], draft_probs[i], draft_tokens[i]
        if torch.rand(()) >= acceptance_probability(p, q)[token]:
            return tokens + [int(torch.multinomial(residual(p, q), 1))]
        tokens.append(token)
    return tokens + [int(torch.multinomial(target_probs[-1], 1))]
