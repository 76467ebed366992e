"""Feeds the last token of the reply too, one call more than needed.

loses: generate-test
told: positions computed for a prompt of 3 and a reply of 4 | the last token is not fed back
"""

# %% nbgrader={"grade": false, "grade_id": "generate", "locked": false, "schema_version": 3, "solution": true, "task": false}
def generate(model, prompt, max_new_tokens, cache, stop_token=None):
    if max_new_tokens == 0:
        return []
    reply = []
    logits = model(torch.tensor([prompt]), cache)
    for _ in range(max_new_tokens):
        token = int(logits[0, -1].argmax())
        if token == stop_token:
            break
        reply.append(token)
        logits = model(torch.tensor([[token]]), cache)
    return reply
