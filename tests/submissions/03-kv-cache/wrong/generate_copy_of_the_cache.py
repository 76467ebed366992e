"""Works on a deep copy of the cache, so the caller's cache doesn't learn of the turn.

loses: generate-test
"""

# %% nbgrader={"grade": false, "grade_id": "generate", "locked": false, "schema_version": 3, "solution": true, "task": false}
import copy


def generate(model, prompt, max_new_tokens, cache, stop_token=None):
    cache = copy.deepcopy(cache)
    reply, feed = [], prompt
    while len(reply) < max_new_tokens:
        token = int(model(torch.tensor([feed]), cache)[0, -1].argmax())
        if token == stop_token:
            break
        reply.append(token)
        feed = [token]
    return reply
