"""Scores the last `stride` tokens of each window, also of the first.

loses: perplexity-test
"""

# %% nbgrader={"grade": false, "grade_id": "perplexity", "locked": false, "schema_version": 3, "solution": true, "task": false}
def perplexity(model, tokens, window, stride):
    if len(tokens) < 2 or not 1 <= stride <= window:
        raise ValueError(f"{len(tokens)} tokens, window {window}, stride {stride}")
    total, scored = 0.0, 0
    last = len(tokens) - 1  # the last token is predicted and predicts nothing
    for start in range(0, last, stride):
        end = min(start + window, last)
        new = min(stride, end - start)
        logits = model(tokens[None, start:end])[0, -new:].float()
        targets = tokens[end + 1 - new : end + 1].to(logits.device)
        total += float(torch.nn.functional.cross_entropy(logits, targets, reduction="sum"))
        scored = end
        if scored == last:
            break
    return float(torch.tensor(total / last).exp())
