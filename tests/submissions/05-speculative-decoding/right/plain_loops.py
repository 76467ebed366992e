"""Python loops, floats and random.random(); inverse-CDF draws.
"""

# %% nbgrader={"grade": false, "grade_id": "tokens-per-call", "locked": false, "schema_version": 3, "solution": true, "task": false}
def expected_tokens(acceptance, k):
    if acceptance == 1:
        return float(k + 1)
    return (1 - acceptance ** (k + 1)) / (1 - acceptance)


def speedup(acceptance, k, draft_cost, verify_cost=1.0):
    time = verify_cost
    for _ in range(k):
        time += draft_cost
    return expected_tokens(acceptance, k) / time


def best_draft_length(acceptance, draft_cost, longest=16):
    best, record = 0, 1.0
    for k in range(1, longest + 1):
        now = speedup(acceptance, k, draft_cost)
        if now > record + 1e-12:
            best, record = k, now
    return best


# %% nbgrader={"grade": false, "grade_id": "verify-greedy", "locked": false, "schema_version": 3, "solution": true, "task": false}
def verify_greedy(draft, logits, stop_token=None):
    def choice(row):
        numbers = logits[row].tolist()
        return numbers.index(max(numbers))

    out = []
    for i in range(len(draft)):
        token = choice(i)
        out.append(token)
        if token == stop_token:
            return out
        if token != draft[i]:
            return out
    out.append(choice(len(draft)))
    return out


# %% nbgrader={"grade": false, "grade_id": "acceptance", "locked": false, "schema_version": 3, "solution": true, "task": false}
def acceptance_probability(p, q):
    out = []
    for a, b in zip(p.tolist(), q.tolist()):
        out.append(0.0 if b == 0 else min(1.0, a / b))
    return out


def residual(p, q):
    missing = [max(0.0, a - b) for a, b in zip(p.tolist(), q.tolist())]
    total = sum(missing)
    if total == 0:
        return p.tolist()
    return [m / total for m in missing]


# %% nbgrader={"grade": false, "grade_id": "sampling-step", "locked": false, "schema_version": 3, "solution": true, "task": false}
import random


def draw(probabilities):
    u = random.random() * sum(probabilities)
    last = 0
    for token, probability in enumerate(probabilities):
        if probability > 0:
            last = token
            if u < probability:
                return token
            u -= probability
    return last


def sampling_step(target_probs, draft_probs, draft_tokens):
    numbers = [random.random() for _ in draft_tokens]  # all at once, used or not
    out = []
    for i, token in enumerate(draft_tokens):
        if numbers[i] >= acceptance_probability(target_probs[i], draft_probs[i])[token]:
            out.append(draw(residual(target_probs[i], draft_probs[i])))
            break
        out.append(token)
    else:
        out.append(draw(target_probs[len(draft_tokens)].tolist()))
    return out


# %% nbgrader={"grade": false, "grade_id": "ngram-drafter", "locked": false, "schema_version": 3, "solution": true, "task": false}
def ngram_draft(text, k, longest=3):
    best_length, best_end = 0, None
    for end in range(1, len(text)):  # the n-gram ends before `end`
        length = 0
        while length < longest and length < end and text[end - 1 - length] == text[len(text) - 1 - length]:
            length += 1
        if length > 0 and length >= best_length:
            best_length, best_end = length, end
    if best_end is None:
        return []
    return [text[i] for i in range(best_end, min(best_end + k, len(text)))]


# %% nbgrader={"grade": false, "grade_id": "model-drafter", "locked": false, "schema_version": 3, "solution": true, "task": false}
class ModelDrafter:
    def __init__(self, model, cache):
        self.model = model
        self.cache = cache

    def _next(self, tokens):
        scores = self.model(torch.LongTensor([tokens]), self.cache)[0][-1].tolist()
        return scores.index(max(scores))

    def propose(self, text, k):
        guesses = []
        while_right = len(self.cache)
        if while_right >= len(text):
            while_right = len(text) - 1
            self.cache.rewind(while_right)
        if k > 0:
            guesses.append(self._next(text[while_right:]))
        for _ in range(k - 1):
            guesses.append(self._next([guesses[-1]]))
        return guesses


# %% nbgrader={"grade": false, "grade_id": "speculative-loop", "locked": false, "schema_version": 3, "solution": true, "task": false}
def speculative_generate(model, prompt, max_new_tokens, cache, propose, k, verify, stop_token=None):
    if max_new_tokens == 0:
        return []
    reply, feed, guesses = [], list(prompt), []
    before = len(cache)
    while True:
        logits = model(torch.tensor([feed]), cache)[0]
        rows = logits[len(logits) - len(guesses) - 1 :]
        new = [int(t) for t in verify(draft=guesses, logits=rows, stop_token=stop_token)]
        wrong = len(guesses) - (len(new) - 1)
        if wrong > 0:
            cache.rewind(len(cache) - wrong)
        for token in new:
            if stop_token is not None and token == stop_token:
                return reply
            reply.append(token)
        left = max_new_tokens - len(reply)
        if left == 0:
            return reply
        guesses = [int(t) for t in propose(text=prompt + reply, k=min(k, left - 1))]
        feed = [reply[-1]] + guesses
