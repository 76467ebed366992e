"""One number after another, in loops and lists, with fractions where they are exact.
"""

# %% nbgrader={"grade": false, "grade_id": "effective-bits", "locked": false, "schema_version": 3, "solution": true, "task": false}
from fractions import Fraction


def effective_bits(bits, group_size, columns, scale_bits=16, zero_bits=None):
    if group_size is None:
        group_size = columns
    if zero_bits is None:
        zero_bits = bits
    full, rest = divmod(columns, group_size)
    return Fraction(columns * bits + (full + (rest > 0)) * (scale_bits + zero_bits), columns)


# %% nbgrader={"grade": false, "grade_id": "hessian", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Hessian:
    def __init__(self, columns):
        self.columns = columns
        self.seen = 0
        self.total = torch.zeros(columns, columns, dtype=torch.float64)

    def add(self, x):
        if x.ndim > 2:
            for part in x:
                self.add(part)
            return
        for token in x:
            token = token.to(torch.float64)
            self.total += torch.outer(token, token)
            self.seen += 1

    @property
    def value(self):
        return (self.total / self.seen if self.seen else self.total).to(torch.float32)


# %% nbgrader={"grade": false, "grade_id": "output-error", "locked": false, "schema_version": 3, "solution": true, "task": false}
def output_error(error, hessian):
    hessian = hessian.double()
    total = 0.0
    for row in error.double():
        total += float(row.dot(hessian.mv(row)))
    return total


# %% nbgrader={"grade": false, "grade_id": "inverse-factor", "locked": false, "schema_version": 3, "solution": true, "task": false}
def inverse_factor(hessian, damp=0.01):
    """The inverse's row of the weights that are free, one after another, as in the text; in float64."""
    if torch.isnan(hessian).any() or torch.isinf(hessian).any():
        raise ValueError("NaN or infinity")
    columns = len(hessian)
    a = hessian.double().clone()
    mean = sum(float(a[i, i]) for i in range(columns)) / columns
    for i in range(columns):
        a[i, i] = a[i, i] + damp * mean if a[i, i] != 0 else 1.0
    # Eliminate from the last column to the first: what is left of a[j, j] is 1 / U[j, j]².
    factor = torch.zeros(columns, columns, dtype=torch.float64)
    for j in range(columns - 1, -1, -1):
        pivot = float(a[j, j])
        if pivot <= 0:
            raise ValueError("not positive definite")
        factor[: j + 1, j] = a[: j + 1, j] / pivot**0.5
        a[:j, :j] -= torch.outer(a[:j, j], a[:j, j]) / pivot
    return torch.linalg.solve_triangular(factor, torch.eye(columns, dtype=torch.float64), upper=True)


# %% nbgrader={"grade": false, "grade_id": "gptq", "locked": false, "schema_version": 3, "solution": true, "task": false}
def gptq(weight, factor, bits, group_size=None, block_size=128):
    """Row after row, and each column takes what all columns before it owe, when its turn comes."""
    if not torch.equal(factor, factor.triu()):
        raise ValueError("the factor has numbers below its diagonal")
    columns = weight.shape[1]
    result = []
    for row in weight:
        owed, values = [], []
        grid = None
        for j in range(columns):
            if j % (group_size or columns) == 0:
                grid = grids.fit(row[None, j : j + (group_size or columns)], bits)
            now = row[j].double()
            if j:
                now = now - torch.stack(owed) @ factor[:j, j].double()
            value = grid.round(now.reshape(1, 1))[0, 0]
            owed.append((now - value) / factor[j, j].double())
            values.append(value)
        result.append(torch.stack(values))
    return torch.stack(result).float()
