"""Fits its own grids, group after group, without the library's function."""

# %% nbgrader={"grade": false, "grade_id": "awq-scale", "locked": false, "schema_version": 3, "solution": true, "task": false}
import math


def nearest(weight, bits, group_size):
    out = torch.empty_like(weight)
    columns = weight.shape[1]
    size = group_size if group_size is not None else columns
    top = 2**bits - 1
    for g in range(math.ceil(columns / size)):
        part = weight[:, g * size : (g + 1) * size]
        low = torch.minimum(part.min(dim=1, keepdim=True).values, torch.zeros(1))
        high = torch.maximum(part.max(dim=1, keepdim=True).values, torch.zeros(1))
        step = (high - low) / top
        step[step == 0] = 1
        zero = torch.clamp(torch.round(-low / step), 0, top)
        code = torch.clamp(torch.round(part / step + zero), 0, top)
        out[:, g * size : (g + 1) * size] = (code - zero) * step
    return out


def awq_scale(weight, mean_abs, hessian, bits, group_size=None, alphas=tuple(i / 20 for i in range(21))):
    top_loss = math.inf
    for alpha in sorted(alphas, reverse=True):
        s = torch.tensor([max(float(a), 1e-4) ** alpha for a in mean_abs])
        q = nearest(weight * s, bits, group_size) / s
        loss = 0.0
        for row in q - weight:
            loss += float(row @ hessian @ row)
        if loss <= top_loss:
            top_loss, answer = loss, (alpha, s, q)
    return answer
