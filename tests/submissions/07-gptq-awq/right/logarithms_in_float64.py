"""Logarithms, a diagonal matrix, float64 for the error, and a list."""

# %% nbgrader={"grade": false, "grade_id": "awq-scale", "locked": false, "schema_version": 3, "solution": true, "task": false}
def awq_scale(weight, mean_abs, hessian, bits, group_size=None, alphas=tuple(i / 20 for i in range(21))):
    logs = mean_abs.double().clamp(min=1e-4).log()
    logs = logs - logs.mean()
    losses, results = [], []
    for alpha in alphas:
        scales = (alpha * logs).exp()
        quantized = grids.round_to_nearest(weight.double() @ scales.diag(), bits, group_size).double() @ (1 / scales).diag()
        error = quantized - weight.double()
        losses.append(torch.einsum("ri,ij,rj->", error, hessian.double(), error).item())
        results.append([torch.tensor(alpha), scales, quantized])
    return results[losses.index(min(losses))]
