"""Holds l to be 0 or at least 1, as it is: the largest score itself adds exp(0). NaN becomes 0 where it comes up."""

# %% nbgrader={"grade": false, "grade_id": "online-softmax", "locked": false, "schema_version": 3, "solution": true, "task": false}
def partial_softmax(scores, values):
    m = scores.amax(-1)
    p = (scores - m[:, None]).exp().nan_to_num(0.0)
    return m, p.sum(-1), p @ values


def merge(one, other):
    m = torch.maximum(one[0], other[0])
    a, b = ((part[0] - m).exp().nan_to_num(0.0) for part in (one, other))
    return m, a * one[1] + b * other[1], a[:, None] * one[2] + b[:, None] * other[2]


def finish(partial):
    return partial[2] / partial[1].clamp(min=1)[:, None], partial[0] + partial[1].log()
