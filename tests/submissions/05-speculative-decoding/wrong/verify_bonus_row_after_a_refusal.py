"""Takes the last row's token after a wrong guess too.

loses: verify-greedy-test
told: the third guess is wrong | the target's own token takes its place
"""

# %% nbgrader={"grade": false, "grade_id": "verify-greedy", "locked": false, "schema_version": 3, "solution": true, "task": false}
def verify_greedy(draft, logits, stop_token=None):
    choices = logits.argmax(-1).tolist()
    n = 0
    while n < len(draft) and draft[n] == choices[n]:
        n += 1
    tokens = list(draft[:n]) + [choices[-1]]
    if stop_token in tokens:
        tokens = tokens[: tokens.index(stop_token) + 1]
    return tokens
