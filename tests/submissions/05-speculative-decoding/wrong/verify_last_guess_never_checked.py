"""The loop ends one guess too early and trusts the last one.

loses: verify-greedy-test
told: the third guess is wrong
"""

# %% nbgrader={"grade": false, "grade_id": "verify-greedy", "locked": false, "schema_version": 3, "solution": true, "task": false}
def verify_greedy(draft, logits, stop_token=None):
    choices = logits.argmax(-1).tolist()
    tokens = []
    for place in range(len(draft)):
        if place < len(draft) - 1 and draft[place] != choices[place]:
            tokens.append(choices[place])
            break
        tokens.append(draft[place])
    else:
        tokens.append(choices[-1])
    if stop_token in tokens:
        tokens = tokens[: tokens.index(stop_token) + 1]
    return tokens
