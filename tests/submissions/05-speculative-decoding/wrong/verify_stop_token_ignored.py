"""Goes on behind the stop token.

loses: verify-greedy-test
"""

# %% nbgrader={"grade": false, "grade_id": "verify-greedy", "locked": false, "schema_version": 3, "solution": true, "task": false}
def verify_greedy(draft, logits, stop_token=None):
    choices = logits.argmax(-1).tolist()
    n = 0
    while n < len(draft) and draft[n] == choices[n]:
        n += 1
    return choices[: n + 1]
