"""Python loops over every head and position; a cache of two preallocated tensors per layer.
"""

# %% nbgrader={"grade": false, "grade_id": "work", "locked": false, "schema_version": 3, "solution": true, "task": false}
def positions_processed(prompt_tokens, new_tokens):
    without_cache = with_cache = 0
    held = 0  # positions in the cache
    for step in range(new_tokens):
        context = prompt_tokens + step
        without_cache += context
        with_cache += context - held
        held = context
    return [without_cache, with_cache]


# %% nbgrader={"grade": false, "grade_id": "memory", "locked": false, "schema_version": 3, "solution": true, "task": false}
import math


def kv_cache_bytes(layers, heads, kv_heads, head_dim, tokens, batch=1, bytes_per_value=2):
    one_key = head_dim * bytes_per_value
    one_layer = one_key * 2 * kv_heads
    return float(math.prod([one_layer, layers, tokens, batch]))


# %% nbgrader={"grade": false, "grade_id": "causal-attention", "locked": false, "schema_version": 3, "solution": true, "task": false}
def causal_attention(q, k, v):
    group = q.shape[1] // k.shape[1]
    cached = k.shape[2] - q.shape[2]
    sequences = []
    for b in range(q.shape[0]):
        heads = []
        for h in range(q.shape[1]):
            rows = []
            for i in range(q.shape[2]):
                last = cached + i  # the position of this query
                scores = [float(q[b, h, i] @ k[b, h // group, j]) / q.shape[3] ** 0.5 for j in range(last + 1)]
                highest = max(scores)
                exps = [math.exp(s - highest) for s in scores]
                rows.append(sum(e / sum(exps) * v[b, h // group, j] for j, e in enumerate(exps)))
            heads.append(torch.stack(rows))
        sequences.append(torch.stack(heads))
    return torch.stack(sequences)


# %% nbgrader={"grade": false, "grade_id": "rope", "locked": false, "schema_version": 3, "solution": true, "task": false}
def apply_rope(x, start, theta=10_000.0):
    batch, heads, new, d = x.shape
    out = torch.empty(batch, heads, new, d, dtype=x.dtype)
    for s in range(new):
        for i in range(d // 2):
            angle = (start + s) * theta ** (-2 * i / d)
            a, b = x[:, :, s, i], x[:, :, s, i + d // 2]
            out[:, :, s, i] = a * math.cos(angle) - b * math.sin(angle)
            out[:, :, s, i + d // 2] = b * math.cos(angle) + a * math.sin(angle)
    return out


# %% nbgrader={"grade": false, "grade_id": "kv-cache", "locked": false, "schema_version": 3, "solution": true, "task": false}
class KVCache:
    def __init__(self, layers, batch, kv_heads, capacity, head_dim, dtype=torch.float32, device="cpu"):
        shape = (batch, kv_heads, capacity, head_dim)
        self.slots = []
        for _ in range(layers):
            keys = torch.empty(shape, dtype=dtype, device=device)
            values = torch.empty(shape, dtype=dtype, device=device)
            self.slots.append((keys, values))
        self.counts = [0 for _ in range(layers)]

    @property
    def nbytes(self):
        total = 0
        for keys, values in self.slots:
            for tensor in (keys, values):
                total += tensor.numel() * tensor.element_size()
        return total

    def __len__(self):
        shortest = self.counts[0]
        for count in self.counts:
            if count < shortest:
                shortest = count
        return shortest

    def update(self, layer, k, v):
        keys, values = self.slots[layer]
        free = keys.shape[2] - self.counts[layer]
        if k.shape[2] > free:
            raise ValueError("only %d places are free" % free)
        for i in range(k.shape[2]):
            keys[:, :, self.counts[layer]].copy_(k[:, :, i])
            values[:, :, self.counts[layer]].copy_(v[:, :, i])
            self.counts[layer] += 1
        held = self.counts[layer]
        return [keys[:, :, :held], values[:, :, :held]]

    def rewind(self, length):
        if length not in range(len(self) + 1):
            raise ValueError(length)
        for layer in range(len(self.counts)):
            self.counts[layer] = length


# %% nbgrader={"grade": false, "grade_id": "generate", "locked": false, "schema_version": 3, "solution": true, "task": false}
def generate(model, prompt, max_new_tokens, cache, stop_token=None):
    if max_new_tokens < 1:
        return []

    def following(tokens):
        scores = model(torch.LongTensor([tokens]), cache)[0, -1].tolist()
        return max(range(len(scores)), key=scores.__getitem__)

    reply = []
    token = following(list(prompt))
    while token != stop_token:
        reply.append(token)
        if len(reply) == max_new_tokens:
            break
        token = following([token])
    return reply


# %% nbgrader={"grade": false, "grade_id": "chunked-prefill", "locked": false, "schema_version": 3, "solution": true, "task": false}
def prefill_in_chunks(model, prompt, cache, chunk_size):
    if chunk_size <= 0:
        raise ValueError("a chunk has at least one token")
    if len(prompt) == 0:
        raise ValueError("no prompt")
    chunk = []
    for i, token in enumerate(prompt):
        chunk.append(token)
        if len(chunk) == chunk_size or i == len(prompt) - 1:
            logits = model(torch.tensor([chunk]), cache)
            chunk = []
    return logits[0][-1]
