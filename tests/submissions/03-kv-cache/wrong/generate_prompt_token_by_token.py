"""Feeds the prompt one token per call: the same work in as many calls as there are tokens.

loses: generate-test
told: the prompt takes one call
"""

# %% nbgrader={"grade": false, "grade_id": "generate", "locked": false, "schema_version": 3, "solution": true, "task": false}
def generate(model, prompt, max_new_tokens, cache, stop_token=None):
    if max_new_tokens == 0:
        return []
    for token in prompt:
        logits = model(torch.tensor([[token]]), cache)
    reply = []
    while True:
        token = int(logits[0, -1].argmax())
        if token == stop_token:
            return reply
        reply.append(token)
        if len(reply) == max_new_tokens:
            return reply
        logits = model(torch.tensor([[token]]), cache)
