"""Draws the number of accepted drafts from its exact law, recursive functions, deques.
"""

# %% nbgrader={"grade": false, "grade_id": "verify-greedy", "locked": false, "schema_version": 3, "solution": true, "task": false}
def verify_greedy(draft, logits, stop_token=None):
    token = int(logits[0].argmax())
    if not draft or token != draft[0] or token == stop_token:
        return [token]
    return [token, *verify_greedy(draft[1:], logits[1:], stop_token)]


# %% nbgrader={"grade": false, "grade_id": "sampling-step", "locked": false, "schema_version": 3, "solution": true, "task": false}
def sampling_step(target_probs, draft_probs, draft_tokens):
    if len(draft_tokens) == 0:
        return (torch.multinomial(target_probs[0], 1).item(),)
    p, q, token = target_probs[0], draft_probs[0], draft_tokens[0]
    ratio = min(1.0, float(p[token]) / float(q[token]))
    if torch.bernoulli(torch.tensor(ratio)):
        return (token, *sampling_step(target_probs[1:], draft_probs[1:], draft_tokens[1:]))
    # Gumbel's trick: the largest of log r + noise is a draw from r.
    missing = (p - q).clamp(min=0)
    noise = -torch.log(-torch.log(torch.rand(len(p)).clamp(1e-12, 1 - 1e-7)))
    return (int((missing.log() + noise).argmax()),)


# %% nbgrader={"grade": false, "grade_id": "ngram-drafter", "locked": false, "schema_version": 3, "solution": true, "task": false}
def ngram_draft(text, k, longest=3):
    last_seen = {}
    for end in range(1, len(text)):
        for n in range(1, min(longest, end) + 1):
            last_seen[tuple(text[end - n : end])] = end
    for n in range(min(longest, len(text)), 0, -1):
        if tuple(text[-n:]) in last_seen:
            end = last_seen[tuple(text[-n:])]
            return tuple(text[end : end + k])
    return ()


# %% nbgrader={"grade": false, "grade_id": "model-drafter", "locked": false, "schema_version": 3, "solution": true, "task": false}
class ModelDrafter:
    def __init__(self, model, cache):
        self.cache = cache
        self.step = lambda tokens: model(torch.tensor([tokens], dtype=torch.int32), cache)[:, -1]

    def propose(self, text, k):
        known = len(self.cache)
        excess = known - (len(text) - 1)
        if excess > 0:
            self.cache.rewind(known - excess)
            known -= excess
        guesses = []
        for i in range(k):
            logits = self.step(guesses[-1:] if i else text[known:])
            guesses.append(logits.argmax().item())
        return tuple(guesses)
