"""Prefills before it looks at max_new_tokens, and returns one token where none was asked for.

loses: generate-test
told: a reply of no token
"""

# %% nbgrader={"grade": false, "grade_id": "generate", "locked": false, "schema_version": 3, "solution": true, "task": false}
def generate(model, prompt, max_new_tokens, cache, stop_token=None):
    token = int(model(torch.tensor([prompt]), cache)[0, -1].argmax())
    reply = []
    while token != stop_token:
        reply.append(token)
        if len(reply) >= max_new_tokens:
            break
        token = int(model(torch.tensor([[token]]), cache)[0, -1].argmax())
    return reply
