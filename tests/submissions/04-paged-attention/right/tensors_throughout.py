"""Tensors instead of lists, one padded batch with a mask, sha256 chains, and one table of numbers in the scheduler.
"""

# %% nbgrader={"grade": false, "grade_id": "kv-slots", "locked": false, "schema_version": 3, "solution": true, "task": false}
import math

import torch


def kv_slots(prompt_tokens, output_tokens, generated, policy, max_tokens=2048, block_size=16):
    held = prompt_tokens + generated
    try:
        taken = {
            "max": max_tokens,
            "pow2": min(prompt_tokens + 2 ** math.ceil(math.log2(output_tokens)), max_tokens),
            "oracle": prompt_tokens + output_tokens,
            "paged": math.ceil(held / block_size) * block_size,
        }[policy]
    except KeyError:
        raise ValueError(f"unknown policy {policy}") from None
    reserved = min(taken - held, output_tokens - generated)
    return torch.tensor([held, reserved, taken - held - reserved])


# %% nbgrader={"grade": false, "grade_id": "block-allocator", "locked": false, "schema_version": 3, "solution": true, "task": false}
class BlockAllocator:
    def __init__(self, num_blocks, block_size):
        self.num_blocks, self.block_size = num_blocks, block_size
        self.counts = torch.zeros(num_blocks, dtype=torch.long)

    @property
    def num_free(self):
        return (self.counts == 0).sum()

    def blocks_for(self, tokens):
        return math.ceil(tokens / self.block_size)

    def allocate(self, count):
        free = (self.counts == 0).nonzero().flatten()
        if count < 0 or count > len(free):
            raise ValueError(f"{count} wanted, {len(free)} free")
        self.counts[free[:count]] = 1
        return free[:count]

    def _change(self, blocks, by):
        blocks = torch.as_tensor(blocks, dtype=torch.long)
        if len(blocks) and (blocks.min() < 0 or blocks.max() >= self.num_blocks):
            raise ValueError("no such block")
        if (self.counts[blocks] == 0).any():
            raise ValueError("a free block")
        after = self.counts.index_add(0, blocks, torch.full_like(blocks, by))
        if (after < 0).any():
            raise ValueError("more owners taken than there are")
        self.counts = after

    def share(self, blocks):
        self._change(blocks, 1)

    def free(self, blocks):
        self._change(blocks, -1)

    def ref_count(self, block):
        if block < 0 or block >= self.num_blocks:
            raise ValueError("no such block")
        return self.counts[block]


# %% nbgrader={"grade": false, "grade_id": "paged-cache", "locked": false, "schema_version": 3, "solution": true, "task": false}
class PagedKVCache:
    def __init__(self, pool, allocator):
        self.pool, self.allocator = pool, allocator
        self.tables = {}
        self.lengths = {}

    def __len__(self):
        return len(self.lengths)

    def length(self, name):
        return torch.tensor(self.lengths[name] if name in self.lengths else 0)

    def block_table(self, name):
        return self.tables.get(name, torch.empty(0, dtype=torch.long))

    def slot_mapping(self, table, start, end):
        positions = torch.arange(start, end)
        blocks = table[torch.div(positions, self.allocator.block_size, rounding_mode="floor")]
        return blocks * self.allocator.block_size + positions.remainder(self.allocator.block_size)

    def append(self, name, new):
        old, start = self.block_table(name), self.lengths.get(name, 0)
        count = self.allocator.blocks_for(start + new) - len(old)
        fresh = torch.as_tensor(self.allocator.allocate(count), dtype=torch.long)
        table = torch.cat((old, fresh))
        self.tables[name] = table
        self.lengths[name] = start + new
        return self.slot_mapping(table, start, start + new)

    def gather(self, layer, name):
        k, v = self.pool.read(layer, self.slot_mapping(self.tables[name], 0, self.lengths[name]))
        return k.permute(1, 0, 2), v.permute(1, 0, 2)

    def free(self, name):
        table = self.tables.pop(name)
        self.allocator.free(table)
        self.lengths.pop(name)


# %% nbgrader={"grade": false, "grade_id": "paged-attention", "locked": false, "schema_version": 3, "solution": true, "task": false}
def paged_attention(q, k_blocks, v_blocks, block_tables, lengths, query_lengths):
    size = k_blocks.shape[1]
    batch, most = len(lengths), max(query_lengths)
    blocks = max(len(table) for table in block_tables)
    tables = torch.tensor([list(table) + [0] * (blocks - len(table)) for table in block_tables])
    group = q.shape[1] // k_blocks.shape[2]
    k = k_blocks[tables].flatten(1, 2).repeat_interleave(group, dim=2).double()  # [batch, positions, heads, head_dim]
    v = v_blocks[tables].flatten(1, 2).repeat_interleave(group, dim=2).double()
    padded = torch.zeros(batch, most, *q.shape[1:], dtype=torch.float64)
    used = torch.arange(most) < torch.tensor(query_lengths)[:, None]
    padded[used] = q.double()
    scores = torch.einsum("bqhd,bkhd->bhqk", padded, k) / math.sqrt(q.shape[2])
    last = (torch.tensor(lengths) - torch.tensor(query_lengths))[:, None] + torch.arange(most)
    hidden = torch.arange(blocks * size) > last[..., None]  # [batch, queries, positions]
    weights = scores.masked_fill(hidden[:, None], float("-inf")).softmax(-1)
    return torch.einsum("bhqk,bkhd->bqhd", weights, v)[used].to(q.dtype)


# %% nbgrader={"grade": false, "grade_id": "copy-on-write", "locked": false, "schema_version": 3, "solution": true, "task": false}
def fork(block_table, allocator):
    allocator.share(torch.tensor(block_table, dtype=torch.long))
    return torch.tensor(block_table, dtype=torch.long)


def make_writable(block_table, start, end, allocator, pool):
    table = torch.tensor(block_table, dtype=torch.long)
    if start == end:
        return table
    size = allocator.block_size
    indices = torch.arange(start // size, (end - 1) // size + 1)
    shared = torch.tensor([allocator.ref_count(int(table[i])) > 1 for i in indices], dtype=torch.bool)
    indices = indices[shared]
    old = table[indices].clone()
    table[indices] = torch.as_tensor(allocator.allocate(len(indices)), dtype=torch.long)
    for source, target in zip(old.tolist(), table[indices].tolist()):
        pool.copy_block(source, target)
    allocator.free(old)
    return table


# %% nbgrader={"grade": false, "grade_id": "prefix-cache", "locked": false, "schema_version": 3, "solution": true, "task": false}
import hashlib
import itertools


class PrefixCache:
    def __init__(self, allocator):
        self.allocator = allocator
        self.block_of, self.used, self.depth = {}, {}, {}
        self.now = itertools.count()

    def __len__(self):
        return len(self.block_of)

    def hashes(self, tokens, count):
        size, parent = self.allocator.block_size, b"root"
        for i in range(count):
            text = ",".join(map(str, tokens[i * size : (i + 1) * size]))
            parent = hashlib.sha256(parent + text.encode()).digest()
            yield i, parent

    def match(self, tokens):
        now, blocks = next(self.now), []
        for _, digest in self.hashes(tokens, max(0, (len(tokens) - 1) // self.allocator.block_size)):
            if digest not in self.block_of:
                break
            self.used[digest] = now
            blocks.append(self.block_of[digest])
        self.allocator.share(blocks)
        return torch.tensor(blocks, dtype=torch.long)

    def store(self, tokens, block_table):
        now = next(self.now)
        for i, digest in self.hashes(tokens, len(tokens) // self.allocator.block_size):
            self.used[digest], self.depth[digest] = now, i
            if digest in self.block_of:
                continue
            self.block_of[digest] = block_table[i]
            self.allocator.share([block_table[i]])

    def evict(self, count):
        order = sorted(self.block_of, key=lambda d: (self.used[d], -self.depth[d]))
        lonely = [d for d in order if self.allocator.ref_count(self.block_of[d]) < 2][:count]
        self.allocator.free([self.block_of.pop(d) for d in lonely])
        return torch.tensor(len(lonely))


# %% nbgrader={"grade": false, "grade_id": "scheduler", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Scheduler:
    def __init__(self, num_blocks, block_size, token_budget, max_running):
        self.limits = (num_blocks, token_budget, max_running)
        self.block_size = block_size
        self.waiting, self.running = [], []
        self.rows = {}  # name -> tensor of [known, computed, end, planned]

    def add(self, name, prompt_tokens, max_new_tokens):
        if name in self.rows:
            raise ValueError("taken")
        if prompt_tokens < 1 or max_new_tokens < 1:
            raise ValueError("too short")
        end = prompt_tokens + max_new_tokens
        if math.ceil((end - 1) / self.block_size) > self.limits[0]:
            raise ValueError("too long")
        self.rows[name] = torch.tensor([prompt_tokens, 0, end, 0])
        self.waiting = self.waiting + [name]

    def used(self):
        tokens = torch.stack([self.rows[n][1] + self.rows[n][3] for n in self.running]) if self.running else torch.zeros(0)
        return int(torch.ceil(tokens / self.block_size).sum())

    def schedule(self):
        num_blocks, budget, places = self.limits
        preempted, index = [], 0
        for row in self.rows.values():
            row[3] = 0
        while index < len(self.running):
            row = self.rows[self.running[index]]
            row[3] = min(int(row[0] - row[1]), budget)
            if self.used() > num_blocks:
                row[3] = 0
                victim = self.running[-1]
                self.running = self.running[:-1]
                self.waiting = [victim] + self.waiting
                self.rows[victim][1] = 0
                preempted.append(victim)
                continue  # the same one again, if it is still there
            budget -= int(row[3])
            index += 1
        while not preempted and budget and self.waiting and len(self.running) < places:
            name, row = self.waiting[0], self.rows[self.waiting[0]]
            row[3] = min(int(row[0]), budget)
            self.running = self.running + [name]
            if self.used() > num_blocks:
                self.running, row[3] = self.running[:-1], 0
                break
            budget -= int(row[3])
            self.waiting = self.waiting[1:]
        return [(n, self.rows[n][3]) for n in self.running if self.rows[n][3]], preempted

    def update(self, stopped=()):
        ended = []
        for name in self.running:
            row = self.rows[name]
            row[1] += row[3]
            if row[3] and row[0] == row[1]:
                row[0] += 1
                if row[0] == row[2] or name in stopped:
                    ended.append(name)
            row[3] = 0
        self.running = [n for n in self.running if n not in ended]
        for name in ended:
            del self.rows[name]
        return tuple(ended)
