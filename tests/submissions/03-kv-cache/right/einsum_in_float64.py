"""Computes in float64 with einsum, rotates complex numbers, keeps keys and values in one tensor.
"""

# %% nbgrader={"grade": false, "grade_id": "work", "locked": false, "schema_version": 3, "solution": true, "task": false}
def positions_processed(prompt_tokens, new_tokens):
    p, n = prompt_tokens, new_tokens
    without_cache = n * p + n * (n - 1) / 2
    with_cache = p + n - 1 if n > 0 else 0
    return without_cache, with_cache


# %% nbgrader={"grade": false, "grade_id": "memory", "locked": false, "schema_version": 3, "solution": true, "task": false}
def kv_cache_bytes(layers, heads, kv_heads, head_dim, tokens, batch=1, bytes_per_value=2):
    return torch.tensor([2, layers, kv_heads, head_dim, tokens, batch, bytes_per_value]).prod()


# %% nbgrader={"grade": false, "grade_id": "causal-attention", "locked": false, "schema_version": 3, "solution": true, "task": false}
def causal_attention(q, k, v):
    kind, q, k, v = q.dtype, q.double(), k.double(), v.double()
    kv_heads, total = k.size(1), k.size(2)
    q = q.unflatten(1, (kv_heads, -1))  # [batch, kv_heads, group, new, head_dim]
    scores = torch.einsum("bhgqd,bhkd->bhgqk", q, k) * q.size(-1) ** -0.5
    query_position = torch.arange(total - q.size(3), total)
    future = torch.arange(total)[None, :] > query_position[:, None]
    scores = scores + torch.where(future, -torch.inf, 0.0)
    weights = (scores - scores.logsumexp(-1, keepdim=True)).exp()
    return torch.einsum("bhgqk,bhkd->bhgqd", weights, v).flatten(1, 2).to(kind)


# %% nbgrader={"grade": false, "grade_id": "rope", "locked": false, "schema_version": 3, "solution": true, "task": false}
import math


def apply_rope(x, start, theta=10_000.0):
    half = x.shape[-1] // 2
    pairs = torch.view_as_complex(torch.stack((x[..., :half], x[..., half:]), dim=-1).double())
    frequency = torch.exp(-torch.arange(half, dtype=torch.float64) / half * math.log(theta))
    angle = torch.einsum("s,f->sf", start + torch.arange(x.shape[-2], dtype=torch.float64), frequency)
    turned = pairs * torch.polar(torch.ones_like(angle), angle)
    return torch.cat((turned.real, turned.imag), dim=-1).to(x.dtype)


# %% nbgrader={"grade": false, "grade_id": "kv-cache", "locked": false, "schema_version": 3, "solution": true, "task": false}
class KVCache:
    def __init__(self, layers, batch, kv_heads, capacity, head_dim, dtype=torch.float32, device="cpu"):
        self._kv = torch.empty(2, layers, batch, kv_heads, capacity, head_dim, dtype=dtype, device=device)
        self._length = torch.zeros(layers, dtype=torch.long)
        self.nbytes = torch.tensor(self._kv.numel() * self._kv.element_size())

    def __len__(self):
        return self._length.min()

    def update(self, layer, k, v):
        start = self._length[layer].clone()
        room = self._kv[:, layer, :, :, start : start + k.shape[2]]
        if room.shape[4 - 1] != k.shape[2]:
            raise ValueError("the cache is full")
        room.copy_(torch.stack((k, v)))
        self._length[layer] += k.shape[2]
        return self._kv[:, layer, :, :, : self._length[layer]].unbind(0)

    def rewind(self, length):
        if length < 0:
            raise ValueError("a length isn't negative")
        if (self._length < length).any():
            raise ValueError("there is nothing ahead to rewind to")
        self._length.fill_(length)


# %% nbgrader={"grade": false, "grade_id": "generate", "locked": false, "schema_version": 3, "solution": true, "task": false}
def generate(model, prompt, max_new_tokens, cache, stop_token=None):
    reply = torch.empty(0, dtype=torch.long)
    feed = torch.as_tensor(prompt).reshape(1, -1)
    for _ in range(max_new_tokens):
        logits = model(feed, cache=cache, last_only=True)
        feed = logits.softmax(-1).argmax(-1)
        if stop_token is not None and feed == stop_token:
            return reply
        reply = torch.cat((reply, feed[0]))
    return reply


# %% nbgrader={"grade": false, "grade_id": "chunked-prefill", "locked": false, "schema_version": 3, "solution": true, "task": false}
def prefill_in_chunks(model, prompt, cache, chunk_size):
    if chunk_size < 1 or not len(prompt):
        raise ValueError(f"bad chunk size {chunk_size} or empty prompt {prompt}")
    for chunk in torch.tensor(prompt)[None].split(chunk_size, dim=1):
        logits = model(chunk, cache, last_only=True)
    return logits.squeeze().double()
