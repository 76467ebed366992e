"""Looks for the stop token in the whole text, where the prompt may hold one.

loses: generate-test
told: a stop token in the prompt
"""

# %% nbgrader={"grade": false, "grade_id": "generate", "locked": false, "schema_version": 3, "solution": true, "task": false}
def generate(model, prompt, max_new_tokens, cache, stop_token=None):
    if max_new_tokens == 0:
        return []
    tokens = list(prompt)
    feed = tokens
    while len(tokens) < len(prompt) + max_new_tokens:
        tokens = tokens + [int(model(torch.tensor([feed]), cache)[0, -1].argmax())]
        if stop_token in tokens:
            return tokens[len(prompt) : tokens.index(stop_token)]
        feed = tokens[-1:]
    return tokens[len(prompt):]
