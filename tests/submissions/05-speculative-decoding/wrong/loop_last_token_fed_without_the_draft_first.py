"""Feeds the last token in a call of its own, and the draft in another.

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
        if len(reply) == max_new_tokens:
            return reply
        useful = min(k, max_new_tokens - len(reply) - 1)
        draft = list(propose(list(text), useful)) if useful else []
        logits = model(torch.tensor([text[-1:]]), cache)[0]
        if draft:
            logits = torch.cat((logits, model(torch.tensor([draft]), cache)[0]))
        chosen = verify(draft, logits, stop_token)
        cache.rewind(earlier + len(text) + len(chosen) - 1)
