"""Passes the cache and still feeds the whole text at each step, so the cache holds it again and again.

loses: generate-test
told: tokens in the cache are not fed again
"""

# %% nbgrader={"grade": false, "grade_id": "generate", "locked": false, "schema_version": 3, "solution": true, "task": false}
def generate(model, prompt, max_new_tokens, cache, stop_token=None):
    tokens = list(prompt)
    for _ in range(max_new_tokens):
        token = int(model(torch.tensor([tokens]), cache)[0, -1].argmax())
        if token == stop_token:
            break
        tokens.append(token)
    return tokens[len(prompt):]
