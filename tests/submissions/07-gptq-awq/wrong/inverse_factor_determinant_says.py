"""Takes a determinant above 0 for positive definite, which two eigenvalues below 0 are not; breaks the ValueError sentence (another error comes).

loses: inverse-factor-test
"""

# %% nbgrader={"grade": false, "grade_id": "inverse-factor", "locked": false, "schema_version": 3, "solution": true, "task": false}
def inverse_factor(hessian, damp=0.01):
    if not hessian.isfinite().all():
        raise ValueError("H isn't finite")
    h = hessian.double()
    dead = h.diagonal() == 0
    h = h + damp * h.diagonal().mean() * torch.eye(len(h))
    h[dead, dead] = 1
    if torch.linalg.det(h) <= 0:
        raise ValueError("not positive definite")
    return torch.linalg.cholesky(torch.linalg.inv(h), upper=True)
