"""All caches share one dictionary.

loses: prefix-cache-test
told: each cache has blocks of its own
"""

# %% nbgrader={"grade": false, "grade_id": "prefix-cache", "locked": false, "schema_version": 3, "solution": true, "task": false}
class PrefixCache:
    blocks = {}
    def __init__(self, allocator):
        self.allocator = allocator

    def __len__(self):
        return len(self.blocks)

    def match(self, tokens):
        found = []
        for key in self.keys(tokens[:-1]):
            if key not in self.blocks:
                break
            found.append(key)
        self.touch(found)
        blocks = [self.blocks[key] for key in found]
        self.allocator.share(blocks)
        return blocks

    def store(self, tokens, block_table):
        keys = self.keys(tokens)
        for key, block in zip(keys, block_table, strict=False):
            if key not in self.blocks:
                self.allocator.share([block])
                self.blocks[key] = block
        self.touch(keys)

    def evict(self, count):
        unused = [key for key, block in self.blocks.items() if self.allocator.ref_count(block) == 1]
        for key in unused[:count]:
            self.allocator.free([self.blocks.pop(key)])
        return len(unused[:count])

    def keys(self, tokens):
        size = self.allocator.block_size
        keys, key = ([], None)
        for start in range(0, len(tokens) - size + 1, size):
            key = hash((key, tuple(tokens[start:start + size])))
            keys.append(key)
        return keys

    def touch(self, keys):
        for key in reversed(keys):
            self.blocks[key] = self.blocks.pop(key)
