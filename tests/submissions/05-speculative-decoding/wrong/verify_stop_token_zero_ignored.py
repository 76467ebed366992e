"""Asks `if stop_token`, so that the id 0 never stops.

loses: verify-greedy-test
"""

# %% nbgrader={"grade": false, "grade_id": "verify-greedy", "locked": false, "schema_version": 3, "solution": true, "task": false}
def verify_greedy(draft, logits, stop_token=None):
    tokens = []
    for place, choice in enumerate(logits.argmax(-1).tolist()):
        tokens.append(choice)
        if place == len(draft) or choice != draft[place]:
            break
        if stop_token and choice == stop_token:
            break
    return tokens
