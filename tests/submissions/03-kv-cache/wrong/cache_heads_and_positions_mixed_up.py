"""Stores [positions, heads] by reshape where transpose is needed.

loses: kv-update-test
told: each number keeps its place: batch, KV head, position, number
misleads: return what the layer holds, not the whole reserved room
"""

# %% nbgrader={"grade": false, "grade_id": "kv-cache", "locked": false, "schema_version": 3, "solution": true, "task": false}
class KVCache:
    def __init__(self, layers, batch, kv_heads, capacity, head_dim, dtype=torch.float32, device="cpu"):
        self.k = torch.zeros(layers, batch, capacity, kv_heads, head_dim, dtype=dtype, device=device)
        self.v = torch.zeros_like(self.k)
        self.filled = [0] * layers
        self.capacity = capacity
        self.nbytes = 2 * self.k.nbytes

    def __len__(self):
        return min(self.filled)

    def update(self, layer, k, v):
        batch, heads, new, dim = k.shape
        start, end = self.filled[layer], self.filled[layer] + new
        if end > self.capacity:
            raise ValueError("full")
        self.k[layer, :, start:end] = k.reshape(batch, new, heads, dim)
        self.v[layer, :, start:end] = v.reshape(batch, new, heads, dim)
        self.filled[layer] = end
        return self.k[layer, :, :end].transpose(1, 2), self.v[layer, :, :end].transpose(1, 2)

    def rewind(self, length):
        if not 0 <= length <= len(self):
            raise ValueError(length)
        self.filled = [length] * len(self.filled)
