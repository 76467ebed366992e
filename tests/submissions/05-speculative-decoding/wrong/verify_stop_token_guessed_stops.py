"""Stops at a stop token in the draft before it is checked.

loses: verify-greedy-test
"""

# %% nbgrader={"grade": false, "grade_id": "verify-greedy", "locked": false, "schema_version": 3, "solution": true, "task": false}
def verify_greedy(draft, logits, stop_token=None):
    tokens = []
    for place, choice in enumerate(logits.argmax(-1).tolist()):
        if place < len(draft) and draft[place] == stop_token:
            return tokens + [stop_token]
        tokens.append(choice)
        if choice == stop_token or place == len(draft) or choice != draft[place]:
            break
    return tokens
