"""Repairs the hole at acceptance 1 with k, where k + 1 is right.

loses: tokens-per-call-test, draft-length-test
"""

# %% nbgrader={"grade": false, "grade_id": "tokens-per-call", "locked": false, "schema_version": 3, "solution": true, "task": false}
def expected_tokens(acceptance, k):
    if acceptance == 1:
        return k
    return (1 - acceptance ** (k + 1)) / (1 - acceptance)


def speedup(acceptance, k, draft_cost, verify_cost=1.0):
    return expected_tokens(acceptance, k) / (k * draft_cost + verify_cost)


def best_draft_length(acceptance, draft_cost, longest=16):
    return max(range(longest + 1), key=lambda k: speedup(acceptance, k, draft_cost))
