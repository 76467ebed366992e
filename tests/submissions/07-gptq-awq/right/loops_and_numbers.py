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
