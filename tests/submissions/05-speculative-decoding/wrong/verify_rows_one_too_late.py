"""Compares guess i with row i + 1.

loses: verify-greedy-test
told: row i checks guess i
misleads: the third guess is wrong
"""

# %% nbgrader={"grade": false, "grade_id": "verify-greedy", "locked": false, "schema_version": 3, "solution": true, "task": false}
def verify_greedy(draft, logits, stop_token=None):
    choices = logits.argmax(-1).tolist()
    n = 0
    while n < len(draft) and draft[n] == choices[n + 1]:
        n += 1
    tokens = list(draft[:n]) + [choices[n]]
    if stop_token in tokens:
        tokens = tokens[: tokens.index(stop_token) + 1]
    return tokens
