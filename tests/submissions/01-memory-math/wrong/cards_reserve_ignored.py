"""Fills the cards to the last byte.

loses: cards-needed-test
"""

# %% nbgrader={"grade": false, "grade_id": "cards-needed", "locked": false, "schema_version": 3, "solution": true, "task": false}
def cards_needed(weights, kv, card, reserve=2_000_000_000):
    room = card
    if room <= 0:
        raise ValueError(f"a reserve of {reserve} leaves nothing of {card} bytes")
    return max(1, -(-(weights + kv) // room))
