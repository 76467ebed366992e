"""Scores the overlap of two windows twice.

loses: perplexity-test
"""

# %% nbgrader={"grade": false, "grade_id": "perplexity", "locked": false, "schema_version": 3, "solution": true, "task": false}
def perplexity(model, tokens, window, stride):
    if len(tokens) < 2 or not 1 <= stride <= window:
        raise ValueError(f"{len(tokens)} tokens, window {window}, stride {stride}")
    count, total, scored = 0, 0.0, 0
    last = len(tokens) - 1  # the last token is predicted and predicts nothing
    for start in range(0, last, stride):
        end = min(start + window, last)
        logits = model(tokens[None, start:end])[0].float()
        targets = tokens[start + 1 : end + 1].to(logits.device)
        count += len(targets)
        total += float(torch.nn.functional.cross_entropy(logits, targets, reduction="sum"))
        scored = end
        if scored == last:
            break
    return float(torch.tensor(total / count).exp())
