"""Returns nothing behind a draft that is right throughout.

loses: verify-greedy-test
told: the row behind the last right guess gives one more token
"""

# %% nbgrader={"grade": false, "grade_id": "verify-greedy", "locked": false, "schema_version": 3, "solution": true, "task": false}
def verify_greedy(draft, logits, stop_token=None):
    choices = logits.argmax(-1).tolist()
    tokens = []
    for guess, choice in zip(draft, choices):
        tokens.append(choice)
        if guess != choice or choice == stop_token:
            break
    return tokens
