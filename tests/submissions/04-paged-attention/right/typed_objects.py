"""Small objects with types: a block that knows its owners, a sequence, a tree of prefixes, a request.
"""

# %% nbgrader={"grade": false, "grade_id": "kv-slots", "locked": false, "schema_version": 3, "solution": true, "task": false}
def kv_slots(
    prompt_tokens: int, output_tokens: int, generated: int, policy: str, max_tokens: int = 2048, block_size: int = 16
) -> tuple[int, int, int]:
    held = prompt_tokens + generated
    match policy:
        case "max":
            taken = max_tokens
        case "oracle":
            taken = prompt_tokens + output_tokens
        case "pow2":
            for_reply = next(2**n for n in range(64) if 2**n >= output_tokens)
            taken = min(prompt_tokens + for_reply, max_tokens)
        case "paged":
            full, rest = divmod(held, block_size)
            taken = (full + bool(rest)) * block_size
        case _:
            raise ValueError(f"{policy=}")
    to_come = output_tokens - generated
    empty = taken - held
    return held, min(empty, to_come), max(0, empty - to_come)


# %% nbgrader={"grade": false, "grade_id": "block-allocator", "locked": false, "schema_version": 3, "solution": true, "task": false}
from collections import Counter, OrderedDict, deque
from dataclasses import dataclass, field


@dataclass
class Block:
    number: int
    owners: int = 0


class BlockAllocator:
    def __init__(self, num_blocks: int, block_size: int):
        self.num_blocks = num_blocks
        self.block_size = block_size
        self.num_free = num_blocks
        self._blocks = [Block(number) for number in range(num_blocks)]
        self._free = deque(self._blocks)

    def blocks_for(self, tokens: int) -> int:
        return (tokens + self.block_size - 1) // self.block_size

    def allocate(self, count: int) -> list[int]:
        if count not in range(self.num_free + 1):
            raise ValueError(f"{count} of {self.num_free}")
        numbers = []
        for _ in range(count):
            block = self._free.popleft()
            block.owners = 1
            numbers.append(block.number)
        self.num_free -= count
        return numbers

    def share(self, blocks: list[int]) -> None:
        wanted = [self._find(number) for number in blocks]
        if any(block.owners == 0 for block in wanted):
            raise ValueError("a free block can't be shared")
        for block in wanted:
            block.owners += 1

    def free(self, blocks: list[int]) -> None:
        losses = Counter(blocks)
        for number, loss in losses.items():
            if self._find(number).owners < loss:
                raise ValueError(f"block {number} would lose {loss} owners")
        for number, loss in losses.items():
            block = self._find(number)
            block.owners -= loss
            if not block.owners:
                self._free.append(block)
                self.num_free += 1

    def ref_count(self, block: int) -> int:
        return self._find(block).owners

    def _find(self, number: int) -> Block:
        if number < 0 or number >= self.num_blocks:
            raise ValueError(f"no block {number}")
        return self._blocks[number]


# %% nbgrader={"grade": false, "grade_id": "paged-cache", "locked": false, "schema_version": 3, "solution": true, "task": false}
@dataclass
class Sequence:
    size: int
    length: int = 0
    blocks: list[int] = field(default_factory=list)

    @property
    def room(self) -> int:
        return len(self.blocks) * self.size - self.length

    def slot(self, position: int) -> int:
        index, offset = divmod(position, self.size)
        return self.blocks[index] * self.size + offset


class PagedKVCache:
    def __init__(self, pool, allocator):
        self._pool, self._allocator = pool, allocator
        self._sequences: dict[str, Sequence] = {}

    def __len__(self) -> int:
        return len(self._sequences)

    def length(self, name: str) -> int:
        return self._sequences[name].length if name in self._sequences else 0

    def block_table(self, name: str) -> list[int]:
        return list(self._sequences[name].blocks) if name in self._sequences else []

    def append(self, name: str, new: int) -> list[int]:
        sequence = self._sequences.get(name) or Sequence(self._pool.block_size)
        wanted = max(0, new - sequence.room)
        fresh = self._allocator.allocate(self._allocator.blocks_for(wanted))
        sequence.blocks.extend(fresh)
        sequence.length += new
        self._sequences[name] = sequence
        return [sequence.slot(p) for p in range(sequence.length - new, sequence.length)]

    def gather(self, layer: int, name: str):
        sequence = self._sequences[name]
        parts = []
        for index, block in enumerate(sequence.blocks):  # block by block, the last one in part
            held = min(sequence.size, sequence.length - index * sequence.size)
            parts.append(self._pool.read(layer, range(block * sequence.size, block * sequence.size + held)))
        k, v = (torch.cat(column).transpose(0, 1).contiguous() for column in zip(*parts))
        return k, v

    def free(self, name: str) -> None:
        sequence = self._sequences.pop(name)
        self._allocator.free(sequence.blocks)


# %% nbgrader={"grade": false, "grade_id": "paged-attention", "locked": false, "schema_version": 3, "solution": true, "task": false}
def paged_attention(q, k_blocks, v_blocks, block_tables, lengths, query_lengths):
    group = q.shape[1] // k_blocks.shape[2]
    out, first = torch.empty_like(q), 0
    for table, length, new in zip(block_tables, lengths, query_lengths):
        rows = slice(first, first + new)
        # Online softmax, a block at a time.
        own = q[rows].unflatten(1, (-1, group)) / q.shape[2] ** 0.5  # [new, kv_heads, group, head_dim]
        positions = torch.arange(length - new, length)
        best = torch.full(own.shape[:3], -torch.inf)
        total, mixed = torch.zeros(own.shape[:3]), torch.zeros(own.shape)
        for index, block in enumerate(table):
            keys = torch.arange(index * k_blocks.shape[1], (index + 1) * k_blocks.shape[1])
            visible = keys[None] <= positions[:, None]
            if not visible.any():
                break
            scores = torch.einsum("nkgd,bkd->nkgb", own, k_blocks[block])
            scores = scores.masked_fill(~visible[:, None, None], -torch.inf)
            higher = torch.maximum(best, scores.amax(-1))
            weights = (scores - higher[..., None]).exp()
            old = (best - higher).exp().nan_to_num(0.0)
            weights = weights.nan_to_num(0.0)
            total = total * old + weights.sum(-1)
            mixed = mixed * old[..., None] + torch.einsum("nkgb,bkd->nkgd", weights, v_blocks[block])
            best = higher
        out[rows] = (mixed / total[..., None]).flatten(1, 2)
        first += new
    return out


# %% nbgrader={"grade": false, "grade_id": "copy-on-write", "locked": false, "schema_version": 3, "solution": true, "task": false}
def fork(block_table: list[int], allocator) -> list[int]:
    child = block_table.copy()
    allocator.share(child)
    return child


def make_writable(block_table: list[int], start: int, end: int, allocator, pool) -> list[int]:
    blocks = dict.fromkeys(position // allocator.block_size for position in range(start, end))
    to_copy = {index: block_table[index] for index in blocks if allocator.ref_count(block_table[index]) >= 2}
    targets = dict(zip(to_copy, allocator.allocate(len(to_copy))))
    for index in to_copy:
        pool.copy_block(to_copy[index], targets[index])
    allocator.free(list(to_copy.values()))
    return [targets.get(index, block) for index, block in enumerate(block_table)]


# %% nbgrader={"grade": false, "grade_id": "prefix-cache", "locked": false, "schema_version": 3, "solution": true, "task": false}
@dataclass
class Node:
    block: int | None = None
    used: int = 0
    children: dict = field(default_factory=dict)  # tokens of a block -> Node


class PrefixCache:
    """A tree of blocks, in which a path from the root is a prefix."""

    def __init__(self, allocator):
        self._allocator, self._root, self._clock = allocator, Node(), 0

    def __len__(self) -> int:
        return sum(node.block is not None for node, _, _, _ in self._walk(self._root, 0))

    def _walk(self, node, depth):
        for key, child in list(node.children.items()):
            yield child, depth, node, key
            yield from self._walk(child, depth + 1)

    def _keys(self, tokens):
        size = self._allocator.block_size
        return [tuple(tokens[i : i + size]) for i in range(0, len(tokens) - size + 1, size)]

    def match(self, tokens):
        self._clock += 1
        node, blocks = self._root, []
        for key in self._keys(tokens[: len(tokens) - 1]):
            node = node.children.get(key)
            if node is None or node.block is None:
                break
            node.used = self._clock
            blocks.append(node.block)
        self._allocator.share(blocks)
        return blocks

    def store(self, tokens, block_table):
        self._clock += 1
        node = self._root
        for key, block in zip(self._keys(tokens), block_table):
            node = node.children.setdefault(key, Node())
            if node.block is None:
                node.block = block
                self._allocator.share([block])
            node.used = self._clock

    def evict(self, count):
        held = [(node.used, -depth, node) for node, depth, _, _ in self._walk(self._root, 0) if node.block is not None]
        held.sort(key=lambda entry: entry[:2])
        given = 0
        for _, _, node in held:
            if given < count and self._allocator.ref_count(node.block) == 1:
                self._allocator.free([node.block])
                node.block = None
                given += 1
        return given


# %% nbgrader={"grade": false, "grade_id": "scheduler", "locked": false, "schema_version": 3, "solution": true, "task": false}
@dataclass
class Request:
    name: str
    known: int
    end: int
    computed: int = 0
    planned: int = 0


class Scheduler:
    def __init__(self, num_blocks: int, block_size: int, token_budget: int, max_running: int):
        self._num_blocks, self._block_size = num_blocks, block_size
        self._token_budget, self._max_running = token_budget, max_running
        self._waiting: list[Request] = []
        self._running: OrderedDict[str, Request] = OrderedDict()
        self._free = num_blocks

    @property
    def waiting(self):
        return [request.name for request in self._waiting]

    @property
    def running(self):
        return self._running.keys()

    def _blocks(self, tokens: int) -> int:
        return (tokens + self._block_size - 1) // self._block_size

    def _claim(self, request: Request, budget: int) -> int:
        """Tokens claimed, or 0 if there are no blocks."""
        new = min(request.known - request.computed, budget)
        more = self._blocks(request.computed + new) - self._blocks(request.computed)
        if more > self._free:
            return 0
        self._free -= more
        request.planned = new
        return new

    def _release(self, request: Request) -> None:
        self._free += self._blocks(request.computed + request.planned)
        request.computed = request.planned = 0

    def add(self, name: str, prompt_tokens: int, max_new_tokens: int) -> None:
        if name in self._running or any(request.name == name for request in self._waiting):
            raise ValueError("such a request is here already")
        if prompt_tokens < 1 or max_new_tokens < 1 or (
            self._blocks(prompt_tokens + max_new_tokens - 1) > self._num_blocks
        ):
            raise ValueError("impossible lengths")
        self._waiting.append(Request(name, prompt_tokens, prompt_tokens + max_new_tokens))

    def schedule(self):
        batch, preempted, budget = [], [], self._token_budget
        todo = list(self._running.values())
        for request in todo:
            while request.name in self._running:
                if claimed := self._claim(request, budget):
                    batch.append((request.name, claimed))
                    budget -= claimed
                    break
                _, victim = self._running.popitem()
                self._release(victim)
                self._waiting.insert(0, victim)
                preempted.append(victim.name)
        while not preempted and self._waiting and budget > 0 and len(self._running) < self._max_running:
            request = self._waiting[0]
            claimed = self._claim(request, budget)
            if not claimed:
                break
            self._running[request.name] = self._waiting.pop(0)
            batch.append((request.name, claimed))
            budget -= claimed
        return batch, preempted

    def update(self, stopped=()):
        ended = []
        for request in list(self._running.values()):
            planned, request.planned = request.planned, 0
            request.computed += planned
            if planned and request.computed == request.known:
                request.known += 1
                if request.name in stopped or request.known >= request.end:
                    del self._running[request.name]
                    self._release(request)
                    ended.append(request.name)
        return ended
