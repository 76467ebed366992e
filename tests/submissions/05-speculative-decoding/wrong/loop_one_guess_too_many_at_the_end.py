"""Asks for as many guesses as tokens are missing.

loses: speculative-loop-test
"""

# %% nbgrader={"grade": false, "grade_id": "speculative-loop", "locked": false, "schema_version": 3, "solution": true, "task": false}
def speculative_generate(
    model, prompt, max_new_tokens, cache, propose, k, verify, stop_token=None
):
    if max_new_tokens == 0:
        return []
    earlier, text = len(cache), list(prompt)
    logits = model(torch.tensor([text]), cache)
    chosen = verify([], logits[0, -1:], stop_token)
    while True:
        text += chosen
        reply = text[len(prompt) :]
        if chosen[-1] == stop_token:
            return reply[:-1]
        if len(reply) >= max_new_tokens:
            return reply[:max_new_tokens]
        useful = min(k, max_new_tokens - len(reply))
        draft = list(propose(list(text), useful)) if useful else []
        logits = model(torch.tensor([[text[-1], *draft]]), cache)
        chosen = verify(draft, logits[0], stop_token)
        cache.rewind(earlier + len(text) + len(chosen) - 1)
