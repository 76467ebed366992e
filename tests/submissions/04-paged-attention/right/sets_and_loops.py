"""Sets, dictionaries and plain loops; positions one by one; whole prefixes as keys, with a clock.
"""

# %% nbgrader={"grade": false, "grade_id": "kv-slots", "locked": false, "schema_version": 3, "solution": true, "task": false}
def kv_slots(prompt_tokens, output_tokens, generated, policy, max_tokens=2048, block_size=16):
    if policy not in ("max", "pow2", "oracle", "paged"):
        raise ValueError(policy)
    held = prompt_tokens + generated
    end = prompt_tokens + output_tokens
    total = 0
    if policy == "max":
        total = max_tokens
    if policy == "oracle":
        total = end
    if policy == "pow2":
        power = 1
        while power < output_tokens:
            power *= 2
        total = prompt_tokens + power
        if total > max_tokens:
            total = max_tokens
    if policy == "paged":
        while total < held:
            total += block_size
    reserved = internal = 0
    for slot in range(held, total):
        if slot < end:
            reserved += 1
        else:
            internal += 1
    return [held, reserved, internal]


# %% nbgrader={"grade": false, "grade_id": "block-allocator", "locked": false, "schema_version": 3, "solution": true, "task": false}
class BlockAllocator:
    def __init__(self, num_blocks, block_size):
        self.num_blocks = num_blocks
        self.block_size = block_size
        self.refs = {}  # only blocks with an owner

    @property
    def num_free(self):
        return self.num_blocks - len(self.refs)

    def blocks_for(self, tokens):
        blocks = 0
        while blocks * self.block_size < tokens:
            blocks += 1
        return blocks

    def allocate(self, count):
        if count < 0:
            raise ValueError("negative")
        free = [b for b in range(self.num_blocks) if b not in self.refs]
        if count > len(free):
            raise ValueError("out of blocks")
        for b in free[:count]:
            self.refs[b] = 1
        return free[:count]

    def share(self, blocks):
        blocks = list(blocks)
        if not set(blocks) <= set(self.refs):
            raise ValueError("not allocated: %s" % (set(blocks) - set(self.refs)))
        for b in blocks:
            self.refs[b] = self.refs[b] + 1

    def free(self, blocks):
        after = dict(self.refs)
        for b in blocks:
            if b not in after:
                raise ValueError("block %s is free" % b)
            if after[b] == 1:
                del after[b]
            else:
                after[b] -= 1
        self.refs = after

    def ref_count(self, block):
        if block in range(self.num_blocks):
            return self.refs.get(block, 0)
        raise ValueError(block)


# %% nbgrader={"grade": false, "grade_id": "paged-cache", "locked": false, "schema_version": 3, "solution": true, "task": false}
class PagedKVCache:
    def __init__(self, pool, allocator):
        self.pool = pool
        self.allocator = allocator
        self.size = allocator.block_size
        self.sequences = {}  # name -> (blocks, slots of all positions)

    def __len__(self):
        return len(self.sequences)

    def length(self, name):
        if name not in self.sequences:
            return 0
        return len(self.sequences[name][1])

    def block_table(self, name):
        if name not in self.sequences:
            return ()
        return tuple(self.sequences[name][0])

    def append(self, name, new):
        blocks, slots = self.sequences.get(name, ([], []))
        room = len(blocks) * self.size - len(slots)
        missing = 0
        while room + missing * self.size < new:
            missing += 1
        if missing > self.allocator.num_free:
            raise ValueError("needs %d blocks" % missing)
        blocks, slots = list(blocks), list(slots)
        for _ in range(missing):
            blocks.extend(self.allocator.allocate(1))
        fresh = []
        for position in range(len(slots), len(slots) + new):
            fresh.append(blocks[position // self.size] * self.size + position % self.size)
        self.sequences[name] = (blocks, slots + fresh)
        return tuple(fresh)

    def gather(self, layer, name):
        blocks, slots = self.sequences[name]
        keys, values = [], []
        for slot in slots:
            k, v = self.pool.read(layer, [slot])
            keys.append(k[0])
            values.append(v[0])
        return [torch.stack(keys, dim=1), torch.stack(values, dim=1)]

    def free(self, name):
        if name not in self.sequences:
            raise KeyError(name)
        blocks, _ = self.sequences.pop(name)
        for block in reversed(blocks):
            self.allocator.free([block])


# %% nbgrader={"grade": false, "grade_id": "paged-attention", "locked": false, "schema_version": 3, "solution": true, "task": false}
def paged_attention(q, k_blocks, v_blocks, block_tables, lengths, query_lengths):
    block_size, kv_heads = k_blocks.shape[1], k_blocks.shape[2]
    heads, head_dim = q.shape[1], q.shape[2]
    out = torch.zeros(q.shape, dtype=torch.float64)
    row = 0
    for s in range(len(lengths)):
        for i in range(query_lengths[s]):
            last = lengths[s] - query_lengths[s] + i
            places = [(block_tables[s][p // block_size], p % block_size) for p in range(last + 1)]
            for h in range(heads):
                g = h // (heads // kv_heads)
                keys = torch.stack([k_blocks[b, o, g] for b, o in places]).double()
                values = torch.stack([v_blocks[b, o, g] for b, o in places]).double()
                weights = torch.softmax(keys @ q[row, h].double() / head_dim**0.5, dim=0)
                out[row, h] = weights @ values
            row += 1
    return out


# %% nbgrader={"grade": false, "grade_id": "copy-on-write", "locked": false, "schema_version": 3, "solution": true, "task": false}
def fork(block_table, allocator):
    child = []
    for block in block_table:
        allocator.share([block])
        child.append(block)
    return tuple(child)


def make_writable(block_table, start, end, allocator, pool):
    touched = set()
    for position in range(start, end):
        touched.add(position // pool.block_size)
    shared = [i for i in sorted(touched) if allocator.ref_count(block_table[i]) != 1]
    if len(shared) > allocator.num_free:
        raise ValueError("not enough blocks to copy into")
    result = []
    for i, block in enumerate(block_table):
        if i in shared:
            (fresh,) = allocator.allocate(1)
            pool.copy_block(block, fresh)
            allocator.free([block])
            block = fresh
        result.append(block)
    return tuple(result)


# %% nbgrader={"grade": false, "grade_id": "prefix-cache", "locked": false, "schema_version": 3, "solution": true, "task": false}
class PrefixCache:
    def __init__(self, allocator):
        self.allocator = allocator
        self.entries = {}  # all tokens up to a block's end -> [block, time of last use]
        self.clock = 0

    def __len__(self):
        return len(self.entries)

    def prefixes(self, tokens):
        size = self.allocator.block_size
        return [tuple(tokens[: n * size]) for n in range(1, len(tokens) // size + 1)]

    def match(self, tokens):
        self.clock += 1
        blocks = []
        for prefix in self.prefixes(tokens):
            if prefix not in self.entries or len(prefix) == len(tokens):
                break
            self.entries[prefix][1] = self.clock
            blocks.append(self.entries[prefix][0])
            self.allocator.share([blocks[-1]])
        return blocks

    def store(self, tokens, block_table):
        self.clock += 1
        for i, prefix in enumerate(self.prefixes(tokens)):
            if prefix in self.entries:
                self.entries[prefix][1] = self.clock
            else:
                self.allocator.share([block_table[i]])
                self.entries[prefix] = [block_table[i], self.clock]

    def evict(self, count):
        gone = 0
        while gone < count:
            candidates = []
            for prefix, (block, used) in self.entries.items():
                if self.allocator.ref_count(block) == 1:
                    candidates.append((used, -len(prefix), prefix))
            if not candidates:
                break
            prefix = min(candidates)[2]
            self.allocator.free([self.entries.pop(prefix)[0]])
            gone += 1
        return gone


# %% nbgrader={"grade": false, "grade_id": "scheduler", "locked": false, "schema_version": 3, "solution": true, "task": false}
from collections import deque


class Scheduler:
    def __init__(self, num_blocks, block_size, token_budget, max_running):
        self.total = num_blocks
        self.size = block_size
        self.budget = token_budget
        self.places = max_running
        self.waiting = deque()
        self.running = deque()
        self.r = {}

    def need(self, tokens):
        return (tokens + self.size - 1) // self.size

    def free(self):
        return self.total - sum(self.need(self.r[n]["has"]) for n in self.running)

    def add(self, name, prompt_tokens, max_new_tokens):
        if name in self.r:
            raise ValueError("name taken")
        if min(prompt_tokens, max_new_tokens) <= 0:
            raise ValueError("empty")
        if prompt_tokens + max_new_tokens - 1 > self.total * self.size:
            raise ValueError("too long")
        self.r[name] = {"prompt": prompt_tokens, "made": 0, "has": 0, "limit": max_new_tokens}
        self.waiting.append(name)

    def missing(self, name):
        request = self.r[name]
        return request["prompt"] + request["made"] - request["has"]

    def schedule(self):
        batch = []
        preempted = []
        left = self.budget
        order = list(self.running)
        for name in order:
            if name not in self.running:
                continue
            new = min(left, self.missing(name))
            has = self.r[name]["has"]
            while self.need(has + new) - self.need(has) > self.free():
                victim = self.running.pop()
                self.r[victim]["has"] = 0
                self.waiting.appendleft(victim)
                preempted.append(victim)
                if victim == name:
                    break
            if name in self.running:
                self.r[name]["has"] += new
                left -= new
                batch.append([name, new])
        if preempted:
            return [batch, preempted]
        while len(self.waiting) > 0 and left > 0 and len(self.running) < self.places:
            name = self.waiting[0]
            new = min(left, self.missing(name))
            if self.need(new) > self.free():
                break
            self.waiting.popleft()
            self.running.append(name)
            self.r[name]["has"] = new
            left -= new
            batch.append([name, new])
        return [batch, preempted]

    def update(self, stopped=()):
        ended = []
        for name in list(self.running):
            request = self.r[name]
            if self.missing(name) == 0:
                request["made"] += 1
                if request["made"] == request["limit"] or name in stopped:
                    ended.append(name)
        for name in ended:
            self.running.remove(name)
            del self.r[name]
        return ended
