"""Compares costs rounded to three digits behind the point, so in quiet layers the first alpha wins; breaks "the smallest output error".

loses: awq-scale-test
"""

# %% nbgrader={"grade": false, "grade_id": "awq-scale", "locked": false, "schema_version": 3, "solution": true, "task": false}
ALPHAS = tuple(i / 20 for i in range(21))  # 0, 0.05, ... 1


def awq_scale(weight, mean_abs, hessian, bits, group_size=None, alphas=ALPHAS):
    loudness = mean_abs.clamp(min=1e-4)

    def candidate(alpha):
        scales = loudness**alpha
        return alpha, scales, grids.round_to_nearest(weight * scales, bits, group_size) / scales

    def cost(found):
        error = found[2] - weight
        return round(float(((error @ hessian) * error).sum()), 3)

    return min(map(candidate, alphas), key=cost)
