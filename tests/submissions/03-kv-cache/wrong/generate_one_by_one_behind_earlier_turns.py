"""Feeds the prompt in one call only to an empty cache; behind earlier turns it goes token by token.

loses: generate-test
told: a second turn: positions in each call | the prompt takes one call
"""

# %% nbgrader={"grade": false, "grade_id": "generate", "locked": false, "schema_version": 3, "solution": true, "task": false}
def generate(model, prompt, max_new_tokens, cache, stop_token=None):
    if max_new_tokens == 0:
        return []
    chunks = [[token] for token in prompt] if len(cache) else [prompt]
    for chunk in chunks:
        logits = model(torch.tensor([chunk]), cache)
    reply = []
    while True:
        token = int(logits[0, -1].argmax())
        if token == stop_token:
            return reply
        reply.append(token)
        if len(reply) == max_new_tokens:
            return reply
        logits = model(torch.tensor([[token]]), cache)
