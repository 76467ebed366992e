"""Accepts exactly the tokens that the target likes at least as much.

loses: acceptance-test, sampling-step-test
"""

# %% nbgrader={"grade": false, "grade_id": "acceptance", "locked": false, "schema_version": 3, "solution": true, "task": false}
def acceptance_probability(p, q):
    return (p >= q).to(p.dtype)


def residual(p, q):
    missing = (p - q).clamp(min=0)
    return missing / missing.sum() if missing.sum() > 0 else p
