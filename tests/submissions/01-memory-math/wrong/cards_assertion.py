"""Asserts instead of raising ValueError.

loses: cards-needed-test
"""

# %% nbgrader={"grade": false, "grade_id": "cards-needed", "locked": false, "schema_version": 3, "solution": true, "task": false}
def cards_needed(weights, kv, card, reserve=2_000_000_000):
    room = card - reserve
    assert room > 0
    return max(1, -(-(weights + kv) // room))
