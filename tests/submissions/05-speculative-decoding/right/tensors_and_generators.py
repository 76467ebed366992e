"""Vectorised where it can be, with a torch generator of its own; returns tensors.
"""

# %% nbgrader={"grade": false, "grade_id": "tokens-per-call", "locked": false, "schema_version": 3, "solution": true, "task": false}
def expected_tokens(acceptance, k):
    return torch.tensor(float(acceptance), dtype=torch.float64).pow(torch.arange(k + 1)).sum()


def speedup(acceptance, k, draft_cost, verify_cost=1.0):
    return expected_tokens(acceptance, k) / (verify_cost + draft_cost * k)


def best_draft_length(acceptance, draft_cost, longest=16):
    return torch.stack([speedup(acceptance, k, draft_cost) for k in range(longest + 1)]).argmax()


# %% nbgrader={"grade": false, "grade_id": "verify-greedy", "locked": false, "schema_version": 3, "solution": true, "task": false}
def verify_greedy(draft, logits, stop_token=None):
    choices = logits.argmax(-1)
    agree = choices[:-1] == torch.tensor(draft, dtype=torch.long)
    tokens = choices[: int(agree.long().cumprod(0).sum()) + 1]
    if stop_token is not None:
        stops = (tokens == stop_token).nonzero()
        if len(stops):
            tokens = tokens[: int(stops[0]) + 1]
    return tokens


# %% nbgrader={"grade": false, "grade_id": "acceptance", "locked": false, "schema_version": 3, "solution": true, "task": false}
def acceptance_probability(p, q):
    return torch.nan_to_num(p.double() / q.double(), nan=0.0, posinf=1.0).clamp(0, 1)


def residual(p, q):
    missing = torch.relu(p.double() - q.double())
    total = missing.sum()
    return torch.where(total > 0, missing / total.clamp(min=1e-30), p.double())


# %% nbgrader={"grade": false, "grade_id": "sampling-step", "locked": false, "schema_version": 3, "solution": true, "task": false}
generator = torch.Generator().manual_seed(77)


def sampling_step(target_probs, draft_probs, draft_tokens):
    k = len(draft_tokens)
    tokens = torch.tensor(draft_tokens, dtype=torch.long)
    rows = torch.arange(k)
    keep = torch.rand(k, generator=generator) * draft_probs[rows, tokens] < target_probs[rows, tokens]
    n = int(keep.long().cumprod(0).sum())
    missing = target_probs.clone()
    missing[:k] = (target_probs[:k] - draft_probs).clamp(min=0)
    own = torch.multinomial(missing[n], 1, generator=generator)
    return torch.cat((tokens[:n], own))


# %% nbgrader={"grade": false, "grade_id": "ngram-drafter", "locked": false, "schema_version": 3, "solution": true, "task": false}
def ngram_draft(text, k, longest=3):
    tokens = torch.tensor(text, dtype=torch.long)
    for n in range(min(longest, len(text) - 1), 0, -1):
        windows = tokens[:-1].unfold(0, n, 1)
        hits = (windows == tokens[-n:]).all(dim=1).nonzero().flatten()
        if len(hits):
            start = int(hits[-1]) + n
            return tokens[start : start + k]
    return tokens[:0]


# %% nbgrader={"grade": false, "grade_id": "model-drafter", "locked": false, "schema_version": 3, "solution": true, "task": false}
class ModelDrafter:
    def __init__(self, model, cache):
        self.model = model
        self.cache = cache
        self.fed = []  # what the cache holds, token by token

    def propose(self, text, k):
        if not k:
            return torch.empty(0, dtype=torch.long)
        common = 0
        for mine, theirs in zip(self.fed, text[:-1]):
            if mine != theirs:
                break
            common += 1
        if common < len(self.fed):
            self.cache.rewind(common)
        del self.fed[common:]
        feed = torch.tensor([text[common:]])
        guesses = []
        for _ in range(k):
            logits = self.model(feed, self.cache, last_only=True)
            self.fed.extend(feed[0].tolist())
            feed = logits.argmax(-1)
            guesses.append(feed[0, 0])
        return torch.stack(guesses)


# %% nbgrader={"grade": false, "grade_id": "speculative-loop", "locked": false, "schema_version": 3, "solution": true, "task": false}
def speculative_generate(model, prompt, max_new_tokens, cache, propose, k, verify, stop_token=None):
    reply = torch.empty(0, dtype=torch.long)
    if max_new_tokens < 1:
        return reply
    prompt = torch.tensor(prompt)
    held = len(cache) + len(prompt)
    first = model(prompt[None], cache, last_only=True)[0, -1].argmax()
    if stop_token is not None and first == stop_token:
        return reply
    reply = first[None]
    while len(reply) < max_new_tokens:
        guesses = propose(torch.cat((prompt, reply)).tolist(), min(k, max_new_tokens - len(reply) - 1))
        guesses = torch.as_tensor(guesses, dtype=torch.long)
        logits = model(torch.cat((reply[-1:], guesses))[None], cache)[0]
        new = torch.as_tensor(verify(guesses.tolist(), logits, stop_token))
        held += len(new)
        cache.rewind(held)
        reply = torch.cat((reply, new))
        if stop_token is not None and new[-1] == stop_token:
            return reply[:-1]
    return reply
