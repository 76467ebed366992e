"""Divides by zero where the drafter has no probability.

loses: acceptance-test
"""

# %% nbgrader={"grade": false, "grade_id": "acceptance", "locked": false, "schema_version": 3, "solution": true, "task": false}
def acceptance_probability(p, q):
    return (p / q).clamp(max=1)


def residual(p, q):
    missing = (p - q).clamp(min=0)
    return missing / missing.sum() if missing.sum() > 0 else p
