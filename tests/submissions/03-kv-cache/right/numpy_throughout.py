"""Computes in NumPy and returns NumPy's numbers; keys and values lie in arrays of [batch, position, head, 2].
"""

# %% nbgrader={"grade": false, "grade_id": "work", "locked": false, "schema_version": 3, "solution": true, "task": false}
import numpy as np


def positions_processed(prompt_tokens, new_tokens):
    steps = prompt_tokens + np.arange(new_tokens)
    return np.array([steps.sum(), steps[-1] if new_tokens else 0])


# %% nbgrader={"grade": false, "grade_id": "memory", "locked": false, "schema_version": 3, "solution": true, "task": false}
def kv_cache_bytes(layers, heads, kv_heads, head_dim, tokens, batch=1, bytes_per_value=2):
    return np.prod(np.array([2, layers, kv_heads, head_dim, tokens, batch, bytes_per_value], dtype=np.int64))


# %% nbgrader={"grade": false, "grade_id": "causal-attention", "locked": false, "schema_version": 3, "solution": true, "task": false}
def causal_attention(q, k, v):
    kind = q.dtype
    q, k, v = (t.detach().cpu().numpy().astype(np.float64) for t in (q, k, v))
    which = np.arange(q.shape[1]) // (q.shape[1] // k.shape[1])  # the KV head of each query head
    scores = q @ k[:, which].swapaxes(2, 3) / np.sqrt(q.shape[3])
    hidden = np.triu(np.ones(scores.shape[2:], dtype=bool), k=1 + k.shape[2] - q.shape[2])
    scores = np.where(hidden, -np.inf, scores)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return torch.from_numpy(weights @ v[:, which] / weights.sum(axis=-1, keepdims=True)).to(kind)


# %% nbgrader={"grade": false, "grade_id": "rope", "locked": false, "schema_version": 3, "solution": true, "task": false}
def apply_rope(x, start, theta=10_000.0):
    numbers = x.numpy()
    d = numbers.shape[-1]
    angles = np.arange(start, start + numbers.shape[2])[:, None] * np.power(theta, -2.0 * np.arange(d // 2) / d)
    # One 2 x 2 matrix for each position and pair.
    turn = np.array([[np.cos(angles), -np.sin(angles)], [np.sin(angles), np.cos(angles)]])
    pairs = numbers.reshape(*numbers.shape[:3], 2, d // 2)
    return torch.tensor(np.einsum("ijsf,bhsjf->bhsif", turn, pairs).reshape(numbers.shape)).to(x)


# %% nbgrader={"grade": false, "grade_id": "kv-cache", "locked": false, "schema_version": 3, "solution": true, "task": false}
class KVCache:
    def __init__(self, layers, batch, kv_heads, capacity, head_dim, dtype=torch.float32, device="cpu"):
        kind = torch.empty(0, dtype=dtype).numpy().dtype
        self.layers = [np.zeros((batch, capacity, kv_heads, 2, head_dim), kind) for _ in range(layers)]
        self.held = np.zeros(layers, dtype=np.int64)
        self.nbytes = np.sum([array.nbytes for array in self.layers])

    def __len__(self):
        return self.held.min()

    def update(self, layer, k, v):
        start, stop = self.held[layer], self.held[layer] + k.shape[2]
        array = self.layers[layer]
        if stop > array.shape[1]:
            raise ValueError("no room")
        for which, new in enumerate((k, v)):
            array[:, start:stop, :, which] = new.numpy().transpose(0, 2, 1, 3)
        self.held[layer] = stop
        return tuple(torch.from_numpy(array[:, :stop, :, which].transpose(0, 2, 1, 3)) for which in (0, 1))

    def rewind(self, length):
        if length < 0 or np.any(length > self.held):
            raise ValueError("no such length")
        for array in self.layers:
            array[:, length:] = 0  # not needed, and not forbidden
        self.held[:] = length


# %% nbgrader={"grade": false, "grade_id": "generate", "locked": false, "schema_version": 3, "solution": true, "task": false}
def generate(model, prompt, max_new_tokens, cache, stop_token=None):
    reply = np.zeros(max_new_tokens, dtype=np.int64)
    feed = np.asarray(prompt, dtype=np.int64)
    for i in range(max_new_tokens):
        logits = model(torch.from_numpy(feed)[None, :], cache).numpy()
        reply[i] = np.argmax(logits[0, -1])
        if reply[i] == stop_token:
            return reply[:i]
        feed = reply[i : i + 1]
    return reply


# %% nbgrader={"grade": false, "grade_id": "chunked-prefill", "locked": false, "schema_version": 3, "solution": true, "task": false}
def prefill_in_chunks(model, prompt, cache, chunk_size):
    prompt = np.asarray(prompt, dtype=np.int64)
    if chunk_size < 1 or prompt.size == 0:
        raise ValueError("nothing to do")
    chunks = np.array_split(prompt, np.arange(chunk_size, prompt.size, chunk_size))
    return [model(torch.tensor(chunk[None]), cache) for chunk in chunks][-1][0, -1, :]
