"""Raises an error where 0 is the answer.

loses: largest-batch-test
"""

# %% nbgrader={"grade": false, "grade_id": "largest", "locked": false, "schema_version": 3, "solution": true, "task": false}
def largest_batch(weights, kv_per_token, context, card, cards=1, reserve=2_000_000_000):
    room = cards * (card - reserve) - weights
    if room < 0:
        raise ValueError("the weights do not fit")
    return max(0, room // (kv_per_token * context))


def largest_context(
    weights, kv_per_token, batch, card, cards=1, reserve=2_000_000_000, limit=None
):
    room = cards * (card - reserve) - weights
    tokens = max(0, room // (kv_per_token * batch))
    return tokens if limit is None else min(tokens, limit)
