"""PyTorch's fused attention; a cache laid out by position, which counts when the layer that is behind is done.
"""

# %% nbgrader={"grade": false, "grade_id": "work", "locked": false, "schema_version": 3, "solution": true, "task": false}
def positions_processed(prompt_tokens, new_tokens):
    contexts = range(prompt_tokens, prompt_tokens + new_tokens)
    return sum(contexts), max(contexts, default=0)


# %% nbgrader={"grade": false, "grade_id": "memory", "locked": false, "schema_version": 3, "solution": true, "task": false}
def kv_cache_bytes(layers, heads, kv_heads, head_dim, tokens, batch=1, bytes_per_value=2):
    width = head_dim * heads  # of the model
    group = heads // kv_heads
    return 2 * layers * (width // group) * tokens * batch * bytes_per_value


# %% nbgrader={"grade": false, "grade_id": "causal-attention", "locked": false, "schema_version": 3, "solution": true, "task": false}
import torch.nn.functional as F


def causal_attention(q, k, v):
    new, total = q.shape[2], k.shape[2]
    rows, columns = torch.arange(new).unsqueeze(1), torch.arange(total).unsqueeze(0)
    group = q.shape[1] // k.shape[1]
    k, v = (t[:, :, None].expand(-1, -1, group, -1, -1).flatten(1, 2) for t in (k, v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=columns <= rows + (total - new))


# %% nbgrader={"grade": false, "grade_id": "rope", "locked": false, "schema_version": 3, "solution": true, "task": false}
def rotate_half(x):
    return torch.cat((-x[..., x.shape[-1] // 2 :], x[..., : x.shape[-1] // 2]), dim=-1)


def apply_rope(x, start, theta=10_000.0):
    inv_freq = 1.0 / (theta ** (torch.arange(0, x.shape[-1], 2).float() / x.shape[-1]))
    freqs = torch.arange(start + x.shape[-2]).float()[start:, None] @ inv_freq[None]
    emb = torch.cat((freqs, freqs), dim=-1)
    return (x * emb.cos() + rotate_half(x) * emb.sin()).to(x.dtype)


# %% nbgrader={"grade": false, "grade_id": "kv-cache", "locked": false, "schema_version": 3, "solution": true, "task": false}
class CacheFull(ValueError):
    pass


class KVCache:
    def __init__(self, layers, batch, kv_heads, capacity, head_dim, dtype=torch.float32, device="cpu"):
        # [positions, layers, keys and values, batch, heads, head_dim]
        self.buffer = torch.zeros(capacity, layers, 2, batch, kv_heads, head_dim, dtype=dtype, device=device)
        self.ends = {}
        self.length = 0

    nbytes = property(lambda self: self.buffer.nbytes)

    def __len__(self):
        return self.length

    def update(self, layer, k, v):
        new = torch.stack((k, v)).permute(3, 0, 1, 2, 4)  # [new, 2, batch, heads, head_dim]
        end = self.ends.get(layer, 0)
        if end + len(new) > len(self.buffer):
            raise CacheFull(f"{len(self.buffer) - end} places left, {len(new)} positions came")
        self.buffer[:, layer].index_copy_(0, torch.arange(end, end + len(new)), new)
        self.ends[layer] = end + len(new)
        if len(self.ends) == self.buffer.shape[1]:
            self.length = min(self.ends.values())
        held = self.buffer.narrow(0, 0, self.ends[layer])[:, layer]
        return held[:, 0].permute(1, 2, 0, 3), held[:, 1].permute(1, 2, 0, 3)

    def rewind(self, length):
        if length < 0 or length > self.length:
            raise CacheFull(f"{length} is not between 0 and {self.length}")
        self.length = length
        self.ends = dict.fromkeys(self.ends, length)


# %% nbgrader={"grade": false, "grade_id": "generate", "locked": false, "schema_version": 3, "solution": true, "task": false}
def generate(model, prompt, max_new_tokens, cache, stop_token=None):
    reply = []
    logits = None
    while len(reply) < max_new_tokens:
        tokens = prompt if logits is None else reply[-1:]
        with torch.no_grad():
            logits = model(torch.tensor(tokens).unsqueeze(0), cache)
        token = torch.topk(logits[:, -1, :], k=1).indices.squeeze()
        if stop_token == token:
            break
        reply.append(token)
    return reply


# %% nbgrader={"grade": false, "grade_id": "chunked-prefill", "locked": false, "schema_version": 3, "solution": true, "task": false}
def prefill_in_chunks(model, prompt, cache, chunk_size):
    if not prompt or chunk_size < 1:
        raise ValueError
    head, tail = prompt[:chunk_size], prompt[chunk_size:]
    logits = model(torch.tensor([head]), cache)
    return prefill_in_chunks(model, tail, cache, chunk_size) if tail else logits[0, len(head) - 1]
