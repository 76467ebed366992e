"""Feeds the prompt when no token is wanted.

loses: speculative-loop-test
told: for a reply of 0 tokens the model isn't called
misleads: the last token and the useful guesses
"""

# %% nbgrader={"grade": false, "grade_id": "speculative-loop", "locked": false, "schema_version": 3, "solution": true, "task": false}
def speculative_generate(
    model, prompt, max_new_tokens, cache, propose, k, verify, stop_token=None
):
    earlier, text = len(cache), list(prompt)
    logits = model(torch.tensor([text]), cache)
    if max_new_tokens == 0:
        return []
    chosen = verify([], logits[0, -1:], stop_token)
    while True:
        text += chosen
        reply = text[len(prompt) :]
        if chosen[-1] == stop_token:
            return reply[:-1]
        if len(reply) == max_new_tokens:
            return reply
        useful = min(k, max_new_tokens - len(reply) - 1)
        draft = list(propose(list(text), useful)) if useful else []
        logits = model(torch.tensor([[text[-1], *draft]]), cache)
        chosen = verify(draft, logits[0], stop_token)
        cache.rewind(earlier + len(text) + len(chosen) - 1)
