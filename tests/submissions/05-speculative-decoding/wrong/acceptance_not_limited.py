"""The ratio p / q without a limit of 1.

loses: acceptance-test
"""

# %% nbgrader={"grade": false, "grade_id": "acceptance", "locked": false, "schema_version": 3, "solution": true, "task": false}
def acceptance_probability(p, q):
    return torch.where(q > 0, p / q, 1.0)


def residual(p, q):
    missing = (p - q).clamp(min=0)
    return missing / missing.sum() if missing.sum() > 0 else p
