"""Takes a column whose row of H sums to 0 for dead; breaks "A dead column of H, whose diagonal element is 0".

loses: inverse-factor-test
"""

# %% nbgrader={"grade": false, "grade_id": "inverse-factor", "locked": false, "schema_version": 3, "solution": true, "task": false}
def inverse_factor(hessian, damp=0.01):
    if not hessian.isfinite().all():
        raise ValueError("H isn't finite")
    h = hessian.double()
    dead = h.sum(1) == 0
    h = h + damp * h.diagonal().mean() * torch.eye(len(h))
    h[dead], h[:, dead] = 0, 0
    h[dead, dead] = 1
    try:
        return torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(h)), upper=True)
    except torch.linalg.LinAlgError as error:
        raise ValueError from error
