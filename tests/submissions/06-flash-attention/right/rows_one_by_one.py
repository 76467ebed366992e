"""Goes row by row within a tile, with lists and plain numbers; spells everything out.
"""

# %% nbgrader={"grade": false, "grade_id": "bytes-moved", "locked": false, "schema_version": 3, "solution": true, "task": false}
def naive_bytes(queries, keys, head_dim, bytes_per_value):
    read = {"q": queries * head_dim, "k": keys * head_dim, "s": queries * keys, "p": queries * keys, "v": keys * head_dim}
    written = {"s": queries * keys, "p": queries * keys, "o": queries * head_dim}
    return (sum(read.values()) + sum(written.values())) * bytes_per_value


def flash_bytes(queries, keys, head_dim, block_q, bytes_per_value):
    blocks = (queries + block_q - 1) // block_q
    return bytes_per_value * queries * head_dim * 2 + bytes_per_value * (queries + 2 * blocks * keys * head_dim)


# %% nbgrader={"grade": false, "grade_id": "naive-attention", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Steps:
    def __init__(self, hbm):
        self.hbm = hbm
        self.rows, self.columns = hbm.shape("q")[0], hbm.shape("k")[0]

    def run(self):
        self.hbm.new("S", [self.rows, self.columns])
        self.hbm.new("P", [self.rows, self.columns])
        v = self.hbm.load("v")
        k, q = self.hbm.load("k"), self.hbm.load("q")
        self.hbm.store("S", 0, (q / q.shape[-1] ** 0.5) @ k.transpose(0, 1))
        self.hbm.store("P", 0, torch.nn.functional.softmax(self.hbm.load("S"), dim=1))
        self.hbm.store("o", 0, torch.mm(self.hbm.load("P"), v))


def naive_attention(hbm):
    Steps(hbm).run()


# %% nbgrader={"grade": false, "grade_id": "online-softmax", "locked": false, "schema_version": 3, "solution": true, "task": false}
def partial_softmax(scores, values):
    m, some = scores.amax(1), (scores > -torch.inf).any(1)
    p = torch.where(scores == -torch.inf, torch.zeros(()), torch.exp(scores - torch.where(some, m, 0.0)[:, None]))
    return m, p.sum(1), (p[:, :, None] * values[None]).sum(1)


def merge(one, other):
    stacked = [torch.stack([a, b]) for a, b in zip(one, other)]
    m = stacked[0].amax(0)
    weight = torch.exp(stacked[0] - m).nan_to_num(nan=0.0)
    return m, (weight * stacked[1]).sum(0), (weight[..., None] * stacked[2]).sum(0)


def finish(partial):
    m, l, o = (part.double() for part in partial)
    empty = l == 0
    output = torch.where(empty[:, None], torch.zeros_like(o), o / l[:, None])
    return output, torch.where(empty, torch.tensor(float("-inf"), dtype=torch.float64), m + l.log())


# %% nbgrader={"grade": false, "grade_id": "flash-forward", "locked": false, "schema_version": 3, "solution": true, "task": false}
def flash_forward(hbm, block_q, block_k):
    queries, head_dim = hbm.shape("q")
    keys = hbm.shape("k")[0]
    for start in range(0, queries, block_q):
        q = hbm.load("q", start, start + block_q)
        tops, sums, outs = [-1e30] * len(q), [0.0] * len(q), [torch.zeros(head_dim)] * len(q)
        for first in range(0, keys, block_k):
            k = hbm.load("k", first, first + block_k)
            v = hbm.load("v", first, first + block_k)
            for i in range(len(q)):
                s = (k * q[i]).sum(1) / head_dim**0.5
                top = max(tops[i], float(s.max()))
                shrink = torch.exp(torch.tensor(tops[i] - top))
                p = torch.exp(s - top)
                tops[i], sums[i] = top, sums[i] * shrink + p.sum()
                outs[i] = outs[i] * shrink + p @ v
        hbm.free("k")
        hbm.free("v")
        hbm.store("o", start, torch.stack([out / total for out, total in zip(outs, sums)]))
        hbm.store("lse", start, torch.tensor([top + float(total.log()) for top, total in zip(tops, sums)]))
        hbm.free("q")


# %% nbgrader={"grade": false, "grade_id": "flash-causal", "locked": false, "schema_version": 3, "solution": true, "task": false}
def flash_attention(hbm, block_q, block_k, causal):
    heads, queries, head_dim = hbm.shape("q")
    kv_heads, keys, _ = hbm.shape("k")
    group = heads // kv_heads
    for head in range(heads):
        for start in range(0, queries, block_q):
            stop = min(start + block_q, queries)
            q = hbm.load("q", start, stop, head=head)
            m, l, o = torch.full((stop - start, 1), -torch.inf), 0, 0
            for first in range(0, keys, block_k):
                last = min(first + block_k, keys)
                if causal and first >= stop + (keys - queries):
                    continue
                k = hbm.load("k", first, last, head=head // group)
                v = hbm.load("v", first, last, head=head // group)
                s = q @ k.mT / head_dim**0.5
                if causal:
                    i, j = torch.meshgrid(torch.arange(start, stop), torch.arange(first, last), indexing="ij")
                    s = torch.where(j - i > keys - queries, torch.tensor(-torch.inf), s)
                new = torch.maximum(m, s.amax(1, keepdim=True))
                l = l * (m - new).exp() + (s - new).exp().sum(1, keepdim=True)
                o = o * (m - new).exp() + (s - new).exp() @ v
                m = new
            hbm.store("lse", start, (m + l.log()).squeeze(1), head=head)
            hbm.store("o", start, o / l, head=head)


# %% nbgrader={"grade": false, "grade_id": "flash-backward", "locked": false, "schema_version": 3, "solution": true, "task": false}
def flash_backward(hbm, block_q, block_k, causal):
    queries, head_dim = hbm.shape("q")
    keys = hbm.shape("k")[0]
    for first in range(0, keys, block_k):
        last = min(first + block_k, keys)
        k, v = hbm.load("k", first, last), hbm.load("v", first, last)
        dk, dv = torch.zeros(last - first, head_dim), torch.zeros(last - first, head_dim)
        for start in range(0, queries, block_q):
            stop = min(start + block_q, queries)
            if not causal or stop - 1 + keys - queries >= first:
                do = hbm.load("do", start, stop)
                d = (do * hbm.load("o", start, stop)).sum(1, keepdim=True)  # again for each tile: it is cheap
                hbm.free("o")
                q = hbm.load("q", start, stop)
                s = q @ k.T * head_dim**-0.5 - hbm.load("lse", start, stop)[:, None]
                i, j = torch.arange(start, stop)[:, None], torch.arange(first, last)[None]
                p = torch.where((j > i + keys - queries) & causal, 0.0, s.exp())
                ds = p * (do @ v.T - d)
                dv, dk = dv + p.T @ do, dk + ds.T @ q * head_dim**-0.5
                dq = hbm.load("dq", start, stop)
                dq += ds @ k * head_dim**-0.5
                hbm.store("dq", start, dq)
                hbm.free("dq")
        hbm.store("dv", first, dv)
        hbm.store("dk", first, dk)
