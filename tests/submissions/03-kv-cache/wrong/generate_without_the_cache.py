"""Never passes the cache and computes everything again at each step.

loses: generate-test
told: each position is computed once
"""

# %% nbgrader={"grade": false, "grade_id": "generate", "locked": false, "schema_version": 3, "solution": true, "task": false}
def generate(model, prompt, max_new_tokens, cache, stop_token=None):
    tokens = list(prompt)
    for _ in range(max_new_tokens):
        token = int(model(torch.tensor([tokens]))[0, -1].argmax())
        if token == stop_token:
            break
        tokens.append(token)
    return tokens[len(prompt):]
