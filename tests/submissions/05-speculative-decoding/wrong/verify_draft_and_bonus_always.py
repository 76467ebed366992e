"""Trusts the draft and adds the last row's token.

loses: verify-greedy-test
"""

# %% nbgrader={"grade": false, "grade_id": "verify-greedy", "locked": false, "schema_version": 3, "solution": true, "task": false}
def verify_greedy(draft, logits, stop_token=None):
    tokens = list(draft) + [int(logits[-1].argmax())]
    if stop_token in tokens:
        tokens = tokens[: tokens.index(stop_token) + 1]
    return tokens
