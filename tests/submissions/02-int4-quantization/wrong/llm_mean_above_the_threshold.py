"""Compares each column's mean with the threshold.

loses: llm-int8-test
"""

# %% nbgrader={"grade": false, "grade_id": "llm-int8", "locked": false, "schema_version": 3, "solution": true, "task": false}
def outlier_columns(x, threshold=6.0):
    return (x.abs().mean(dim=0) > threshold).nonzero().flatten()


def int8_linear(x, weight, threshold=6.0):
    outliers = outlier_columns(x, threshold)
    usual = torch.ones(x.shape[1], dtype=torch.bool, device=x.device)
    usual[outliers] = False
    w_codes, w_scale = quantize_int8(weight, per_channel=True)
    exact = x[:, outliers] @ weight[:, outliers].T
    if not usual.any():
        return exact
    x_codes, x_scale = quantize_int8(x[:, usual], per_channel=True)
    sums = x_codes.int() @ w_codes[:, usual].int().T
    return sums * x_scale * w_scale.T + exact
