"""Checks for the stop token in the decode steps and not after the prefill.

loses: generate-test
told: a stop token that comes first
misleads: each call must go on where the cache ends
"""

# %% nbgrader={"grade": false, "grade_id": "generate", "locked": false, "schema_version": 3, "solution": true, "task": false}
def generate(model, prompt, max_new_tokens, cache, stop_token=None):
    if max_new_tokens == 0:
        return []
    reply = [int(model(torch.tensor([prompt]), cache)[0, -1].argmax())]
    while len(reply) < max_new_tokens:
        token = int(model(torch.tensor([reply[-1:]]), cache)[0, -1].argmax())
        if token == stop_token:
            break
        reply.append(token)
    return reply
