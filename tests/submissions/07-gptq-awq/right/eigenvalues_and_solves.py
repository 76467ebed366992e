"""By eigenvalues, solves and einsum in place of the textbook's steps.
"""

# %% nbgrader={"grade": false, "grade_id": "effective-bits", "locked": false, "schema_version": 3, "solution": true, "task": false}
def effective_bits(bits, group_size, columns, scale_bits=16, zero_bits=None):
    size = min(group_size or columns, columns)
    row = columns * bits
    row += (columns + size - 1) // size * scale_bits
    row += (columns + size - 1) // size * (bits if zero_bits is None else zero_bits)
    return row / columns


# %% nbgrader={"grade": false, "grade_id": "hessian", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Hessian:
    def __init__(self, columns):
        self.state = (torch.zeros(columns, columns), 0)

    def add(self, x):
        products, count = self.state
        x = x.type(torch.float32)
        new = torch.einsum("...i,...j->ij", x, x)
        self.state = products + new, count + x[..., 0].numel()

    def __getattr__(self, name):
        if name != "value":
            raise AttributeError(name)
        products, count = self.state
        return products if count == 0 else products.div(count)


# %% nbgrader={"grade": false, "grade_id": "output-error", "locked": false, "schema_version": 3, "solution": true, "task": false}
def output_error(error, hessian):
    # H = V diag(d) Vᵀ, so the cost is that of E V in each direction.
    lengths, directions = torch.linalg.eigh(hessian.double())
    return ((error.double() @ directions).square().sum(0) * lengths.clamp(min=0)).sum()


# %% nbgrader={"grade": false, "grade_id": "inverse-factor", "locked": false, "schema_version": 3, "solution": true, "task": false}
def inverse_factor(hessian, damp=0.01):
    if hessian.isfinite().logical_not().any():
        raise ValueError("every number must be finite")
    live = (hessian.diagonal() != 0).nonzero()[:, 0]
    upper = torch.eye(len(hessian), dtype=torch.float64)
    if len(live) == 0:
        return upper
    h = hessian.double()[live][:, live]
    h = h + damp * hessian.double().diagonal().mean() * torch.eye(len(live), dtype=torch.float64)
    lengths, directions = torch.linalg.eigh(h)
    if lengths[0] <= 1e-12 * lengths[-1]:
        raise ValueError("a direction without a length")
    # A⁻¹ = Bᵀ B for B = d^(-1/2) Vᵀ, and B = Q R makes it Rᵀ R.
    r = torch.linalg.qr((directions * lengths.rsqrt()).T).R
    r = r * r.diagonal().sign()[:, None]
    upper[live[:, None], live] = r
    return upper


# %% nbgrader={"grade": false, "grade_id": "gptq", "locked": false, "schema_version": 3, "solution": true, "task": false}
def gptq(weight, factor, bits, group_size=None, block_size=128):
    """The textbook: the inverse of what is left, made anew by taking a row and a column out of it."""
    if (factor != factor.triu()).any():
        raise ValueError("that is no upper triangular matrix")
    inverse = factor.double().T @ factor.double()
    own = {}
    for group in grids.groups(weight.shape[1], group_size):
        for j in range(group.start, group.stop):
            own[j] = grids.fit(weight[:, group], bits)
    rest = weight.double()
    rounded = torch.zeros_like(rest)
    for j in range(weight.shape[1]):
        rounded[:, j] = own[j].round(rest[:, j : j + 1]).flatten()
        rest -= torch.outer(rest[:, j] - rounded[:, j], inverse[j] / inverse[j, j])
        inverse = inverse - torch.outer(inverse[:, j], inverse[j]) / inverse[j, j]
    return rounded.float()
