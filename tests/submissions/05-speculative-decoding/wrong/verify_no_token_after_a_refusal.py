"""Stops at a wrong guess without the target's own token.

loses: verify-greedy-test
told: the target's own token takes its place
"""

# %% nbgrader={"grade": false, "grade_id": "verify-greedy", "locked": false, "schema_version": 3, "solution": true, "task": false}
def verify_greedy(draft, logits, stop_token=None):
    choices = logits.argmax(-1).tolist()
    tokens = []
    for guess, choice in zip(draft, choices):
        if guess != choice:
            return tokens
        tokens.append(choice)
        if choice == stop_token:
            return tokens
    return tokens + [choices[-1]]
