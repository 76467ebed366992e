"""Draws inputs that have this Hessian, by its square root, and measures outputs."""

# %% nbgrader={"grade": false, "grade_id": "awq-scale", "locked": false, "schema_version": 3, "solution": true, "task": false}
def awq_scale(weight, mean_abs, hessian, bits, group_size=None, alphas=tuple(i / 20 for i in range(21))):
    values, vectors = torch.linalg.eigh(hessian.double())
    inputs = vectors * values.clamp(min=0).sqrt()  # inputs @ inputs.T is the Hessian
    tried = {}
    for alpha in alphas:
        scales = torch.clamp_min(mean_abs, 1e-4) ** alpha
        rounded = grids.round_to_nearest(scales * weight, bits, group_size)
        quantized = rounded / scales
        tried[alpha] = torch.linalg.matrix_norm((quantized - weight).double() @ inputs), scales, quantized
    alpha = min(tried, key=lambda one: tried[one][0])
    _, scales, quantized = tried[alpha]
    return alpha, scales, quantized
