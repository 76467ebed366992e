"""The first guess is never compared.

loses: verify-greedy-test
told: the first guess is checked as well
"""

# %% nbgrader={"grade": false, "grade_id": "verify-greedy", "locked": false, "schema_version": 3, "solution": true, "task": false}
def verify_greedy(draft, logits, stop_token=None):
    choices = logits.argmax(-1).tolist()
    n = min(1, len(draft))
    while n < len(draft) and draft[n] == choices[n]:
        n += 1
    tokens = list(draft[:n]) + [choices[n]]
    if stop_token in tokens:
        tokens = tokens[: tokens.index(stop_token) + 1]
    return tokens
