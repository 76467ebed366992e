"""Rounds the weights of all alphas as one tall matrix."""

# %% nbgrader={"grade": false, "grade_id": "awq-scale", "locked": false, "schema_version": 3, "solution": true, "task": false}
def awq_scale(weight, mean_abs, hessian, bits, group_size=None, alphas=tuple(i / 20 for i in range(21))):
    powers = torch.tensor(list(alphas))
    scales = mean_abs.clamp_min(1e-4).unsqueeze(0) ** powers.unsqueeze(1)
    tall = (weight.unsqueeze(0) * scales.unsqueeze(1)).flatten(0, 1)
    small = grids.round_to_nearest(tall, bits, group_size).unflatten(0, (len(powers), -1)) / scales.unsqueeze(1)
    error = small - weight
    best = ((error @ hessian) * error).sum((1, 2)).argmin()
    return powers[best], scales[best], small[best]
