"""Rounds alpha to a twentieth before it is used; breaks "alpha, that of `alphas`".

loses: awq-scale-test
"""

# %% nbgrader={"grade": false, "grade_id": "awq-scale", "locked": false, "schema_version": 3, "solution": true, "task": false}
ALPHAS = tuple(i / 20 for i in range(21))  # 0, 0.05, ... 1


def awq_scale(weight, mean_abs, hessian, bits, group_size=None, alphas=ALPHAS):
    loudness = mean_abs.clamp(min=1e-4)

    def candidate(alpha):
        alpha = round(20 * alpha) / 20
        scales = loudness**alpha
        return alpha, scales, grids.round_to_nearest(weight * scales, bits, group_size) / scales

    def cost(found):
        error = found[2] - weight
        return float(((error @ hessian) * error).sum())

    return min(map(candidate, alphas), key=cost)
