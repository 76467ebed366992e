"""Makes a new cache and leaves the one that it was given untouched: the next turn starts from nothing.

loses: generate-test
"""

# %% nbgrader={"grade": false, "grade_id": "generate", "locked": false, "schema_version": 3, "solution": true, "task": false}
from fridge.caches import ConcatCache


def generate(model, prompt, max_new_tokens, cache, stop_token=None):
    cache = ConcatCache()
    reply, feed = [], prompt
    while len(reply) < max_new_tokens:
        token = int(model(torch.tensor([feed]), cache)[0, -1].argmax())
        if token == stop_token:
            break
        reply.append(token)
        feed = [token]
    return reply
