"""Everything in float64, and whole matrices at once.
"""

# %% nbgrader={"grade": false, "grade_id": "effective-bits", "locked": false, "schema_version": 3, "solution": true, "task": false}
def effective_bits(bits, group_size, columns, scale_bits=16, zero_bits=None):
    groups = len(range(0, columns, group_size or columns))
    extra = groups * (scale_bits + (zero_bits if zero_bits is not None else bits))
    return torch.tensor(bits + extra / columns, dtype=torch.float64)


# %% nbgrader={"grade": false, "grade_id": "hessian", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Hessian:
    def __init__(self, columns):
        self.value = torch.zeros(columns, columns)
        self.exact = torch.zeros(columns, columns, dtype=torch.float64)
        self.count = 0

    def add(self, x):
        x = x.reshape(x.numel() // x.shape[-1], x.shape[-1]).double()
        self.exact = self.exact + torch.tensordot(x, x, dims=([0], [0]))
        self.count += x.shape[0]
        if self.count:
            self.value = (self.exact / self.count).float()


# %% nbgrader={"grade": false, "grade_id": "output-error", "locked": false, "schema_version": 3, "solution": true, "task": false}
def output_error(error, hessian):
    e = error.double()
    return torch.trace(e @ hessian.double() @ e.T)


# %% nbgrader={"grade": false, "grade_id": "inverse-factor", "locked": false, "schema_version": 3, "solution": true, "task": false}
def inverse_factor(hessian, damp=0.01):
    a = hessian.double()
    dead = a.diagonal().eq(0)
    a = a + torch.eye(len(a), dtype=a.dtype) * damp * a.diagonal().mean() + torch.diag(dead.double())
    lower, info = torch.linalg.cholesky_ex(a.flip(0, 1))
    if int(info) or not lower.isfinite().all():
        raise ValueError(f"the factor fails at {int(info)}")
    # A = R Rᵀ with an upper R, and U is its inverse.
    return torch.linalg.inv(lower.flip(0, 1)).triu().float()


# %% nbgrader={"grade": false, "grade_id": "gptq", "locked": false, "schema_version": 3, "solution": true, "task": false}
def gptq(weight, factor, bits, group_size=None, block_size=128):
    lower = factor.T.double()
    if lower.triu(1).abs().sum() > 0:
        raise ValueError("U is to be upper triangular")
    shares = factor.double() / factor.double().diagonal()[:, None]
    rest = weight.double()
    fitted = [(g, grids.fit(weight[:, g], bits)) for g in grids.groups(weight.shape[1], group_size)]
    for group, grid in fitted:
        for j in range(group.start, group.stop):
            value = grid.round(rest[:, [j]])
            change = (rest[:, [j]] - value) * shares[j]
            change[:, : j + 1] = 0
            rest = rest - change
            rest[:, [j]] = value.double()
    return rest.float()
