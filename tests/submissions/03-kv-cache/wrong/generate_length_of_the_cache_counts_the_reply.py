"""Stops when the cache is as long as this turn, which earlier turns make too early.

loses: generate-test
"""

# %% nbgrader={"grade": false, "grade_id": "generate", "locked": false, "schema_version": 3, "solution": true, "task": false}
def generate(model, prompt, max_new_tokens, cache, stop_token=None):
    reply, feed = [], prompt
    while len(cache) < len(prompt) + max_new_tokens - 1 and max_new_tokens > 0:
        token = int(model(torch.tensor([feed]), cache)[0, -1].argmax())
        if token == stop_token:
            break
        reply.append(token)
        feed = [token]
    return reply
