"""Shifts inside the window: its first new token is never scored when windows don't overlap.

loses: perplexity-test
"""

# %% nbgrader={"grade": false, "grade_id": "perplexity", "locked": false, "schema_version": 3, "solution": true, "task": false}
def perplexity(model, tokens, window, stride):
    if len(tokens) < 2 or not 1 <= stride <= window:
        raise ValueError(f"{len(tokens)} tokens, window {window}, stride {stride}")
    total, scored = 0.0, 0
    last = len(tokens) - 1  # the last token is predicted and predicts nothing
    for start in range(0, last, stride):
        end = min(start + window, last + 1)
        logits = model(tokens[None, start:end])[0, :-1].float()
        targets = tokens[start + 1 : end].to(logits.device)
        new = max(scored - start - 1, 0)
        logits, targets = logits[new:], targets[new:]
        total += float(torch.nn.functional.cross_entropy(logits, targets, reduction="sum"))
        scored = end
        if scored == last + 1:
            break
    return float(torch.tensor(total / last).exp())
