"""Scales divided by the root of the largest times the smallest, as in AWQ's code; min over tuples."""

# %% nbgrader={"grade": false, "grade_id": "awq-scale", "locked": false, "schema_version": 3, "solution": true, "task": false}
def awq_scale(weight, mean_abs, hessian, bits, group_size=None, alphas=tuple(i / 20 for i in range(21))):
    loudness = torch.maximum(mean_abs, torch.tensor(1e-4))

    def attempt(alpha):
        s = loudness.pow(alpha)
        s = s / (s.max() * s.min()).sqrt()
        q = grids.round_to_nearest(weight * s.view(1, -1), bits, group_size).div(s.view(1, -1))
        e = q - weight
        return torch.trace(e @ hessian @ e.T).item(), alpha, s, q

    return min(map(attempt, alphas), key=lambda candidate: candidate[0])[1:]
