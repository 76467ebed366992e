"""Tokens of zeros aren't counted; breaks "Every token counts the same".

loses: hessian-test
"""

# %% nbgrader={"grade": false, "grade_id": "hessian", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Hessian:
    def __init__(self, columns):
        self.total, self.n = torch.zeros(columns, columns, dtype=torch.float64), 0

    def add(self, x):
        x = x.double().flatten(0, -2)
        x = x[x.abs().sum(1) > 0]
        self.total += x.T @ x
        self.n += len(x)

    @property
    def value(self):
        return self.total / max(1, self.n)
