"""Collects the layers in a dict that is a default argument: one dict for all caches.

loses: kv-update-test, kv-state-test
"""

# %% nbgrader={"grade": false, "grade_id": "kv-cache", "locked": false, "schema_version": 3, "solution": true, "task": false}
class KVCache:
    def __init__(self, layers, batch, kv_heads, capacity, head_dim, dtype=torch.float32, device="cpu", store={}):
        self.store = store
        self.layers = layers
        self.capacity = capacity
        self.nbytes = 2 * layers * batch * kv_heads * capacity * head_dim * torch.finfo(dtype).bits // 8

    def __len__(self):
        return min((self.store[i][0].shape[2] if i in self.store else 0) for i in range(self.layers))

    def update(self, layer, k, v):
        if layer in self.store:
            old_k, old_v = self.store[layer]
            k, v = torch.cat([old_k, k], dim=2), torch.cat([old_v, v], dim=2)
        if k.shape[2] > self.capacity:
            raise ValueError("too long")
        self.store[layer] = k, v
        return k, v

    def rewind(self, length):
        if not 0 <= length <= len(self):
            raise ValueError("bad length")
        for layer, (k, v) in self.store.items():
            self.store[layer] = k[:, :, :length], v[:, :, :length]
