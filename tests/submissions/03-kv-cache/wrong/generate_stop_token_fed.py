"""Feeds the chosen token before it looks whether that is the stop token.

loses: generate-test
told: a stop token is not fed back
"""

# %% nbgrader={"grade": false, "grade_id": "generate", "locked": false, "schema_version": 3, "solution": true, "task": false}
def generate(model, prompt, max_new_tokens, cache, stop_token=None):
    reply = []
    if max_new_tokens < 1:
        return reply
    token = int(model(torch.tensor([prompt]), cache)[0, -1].argmax())
    while len(reply) < max_new_tokens - 1:
        following = int(model(torch.tensor([[token]]), cache)[0, -1].argmax())
        if token == stop_token:
            return reply
        reply.append(token)
        token = following
    return reply if token == stop_token else reply + [token]
