"""Computes in NumPy, draws with numpy.random, returns arrays.
"""

# %% nbgrader={"grade": false, "grade_id": "tokens-per-call", "locked": false, "schema_version": 3, "solution": true, "task": false}
import numpy as np


def expected_tokens(acceptance, k):
    return np.power(float(acceptance), np.arange(k + 1)).sum()


def speedup(acceptance, k, draft_cost, verify_cost=1.0):
    return expected_tokens(acceptance, k) / np.float64(k * draft_cost + verify_cost)


def best_draft_length(acceptance, draft_cost, longest=16):
    return np.argmax([speedup(acceptance, k, draft_cost) for k in range(longest + 1)])


# %% nbgrader={"grade": false, "grade_id": "verify-greedy", "locked": false, "schema_version": 3, "solution": true, "task": false}
def verify_greedy(draft, logits, stop_token=None):
    choices = np.argmax(logits.numpy(), axis=-1)
    wrong = np.append(choices[:-1] != np.array(draft, dtype=int), True)
    wrong |= choices == (-1 if stop_token is None else stop_token)
    return choices[: np.argmax(wrong) + 1]


# %% nbgrader={"grade": false, "grade_id": "acceptance", "locked": false, "schema_version": 3, "solution": true, "task": false}
def acceptance_probability(p, q):
    p, q = np.asarray(p, dtype=np.float64), np.asarray(q, dtype=np.float64)
    return np.divide(np.minimum(p, q), q, out=np.zeros_like(p), where=q > 0)


def residual(p, q):
    p, q = np.asarray(p, dtype=np.float64), np.asarray(q, dtype=np.float64)
    missing = p - np.minimum(p, q)
    return missing / missing.sum() if missing.any() else p


# %% nbgrader={"grade": false, "grade_id": "sampling-step", "locked": false, "schema_version": 3, "solution": true, "task": false}
rng = np.random.default_rng()


def sampling_step(target_probs, draft_probs, draft_tokens):
    p, q = target_probs.double().numpy(), draft_probs.double().numpy()
    bonus = rng.choice(len(p[-1]), p=p[-1] / p[-1].sum())  # drawn first, perhaps in vain
    for i, token in enumerate(draft_tokens):
        if rng.uniform() * q[i, token] > p[i, token]:
            return np.array([*draft_tokens[:i], rng.choice(len(p[i]), p=residual(p[i], q[i]))])
    return np.array([*draft_tokens, bonus])


# %% nbgrader={"grade": false, "grade_id": "ngram-drafter", "locked": false, "schema_version": 3, "solution": true, "task": false}
def ngram_draft(text, k, longest=3):
    text = np.array(text, dtype=int)
    for n in range(longest, 0, -1):
        ends = [e for e in range(n, len(text)) if np.array_equal(text[e - n : e], text[len(text) - n :])]
        if ends:
            return text[ends[-1] : ends[-1] + k]
    return np.array([], dtype=int)


# %% nbgrader={"grade": false, "grade_id": "model-drafter", "locked": false, "schema_version": 3, "solution": true, "task": false}
class ModelDrafter:
    def __init__(self, model, cache):
        self.model, self.cache, self.length = model, cache, 0

    def propose(self, text, k):
        guesses = np.zeros(k, dtype=np.int64)
        keep = min(self.length, len(text) - 1)
        self.cache.rewind(keep)
        feed = np.asarray(text)[keep:]
        self.length = keep
        for i in range(k):
            logits = self.model(torch.from_numpy(feed)[None], cache=self.cache).numpy()
            self.length += len(feed)
            guesses[i] = logits[0, -1].argmax()
            feed = guesses[i : i + 1]
        return guesses


# %% nbgrader={"grade": false, "grade_id": "speculative-loop", "locked": false, "schema_version": 3, "solution": true, "task": false}
def speculative_generate(model, prompt, max_new_tokens, cache, propose, k, verify, stop_token=None):
    out = np.array(prompt, dtype=np.int64)
    end = len(out) + max_new_tokens
    offset = len(cache) - 0
    while len(out) < end:
        if len(cache) == offset:
            fed, draft = out, np.zeros(0, dtype=np.int64)
        else:
            draft = np.array(propose(out.tolist(), min(k, end - len(out) - 1)), dtype=np.int64)
            fed = np.append(out[-1:], draft)
        logits = model(torch.from_numpy(fed)[None], cache)
        rows = logits[0, logits.shape[1] - 1 - len(draft) :]
        out = np.append(out, np.array(verify(draft.tolist(), rows, stop_token), dtype=np.int64))
        cache.rewind(offset + len(out) - 1)
        if stop_token is not None and out[-1] == stop_token:
            out = out[:-1]
            break
    return out[len(prompt) :]
