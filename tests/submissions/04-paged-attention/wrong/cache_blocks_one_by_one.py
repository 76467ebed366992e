"""Takes block after block, and keeps those it got when none is left.

loses: paged-cache-test
"""

# %% nbgrader={"grade": false, "grade_id": "paged-cache", "locked": false, "schema_version": 3, "solution": true, "task": false}
class PagedKVCache:
    def __init__(self, pool, allocator):
        self.pool, self.allocator = (pool, allocator)
        self.tables, self.lengths = ({}, {})

    def __len__(self):
        return len(self.tables)

    def length(self, name):
        return self.lengths.get(name, 0)

    def block_table(self, name):
        return list(self.tables.get(name, []))

    def append(self, name, new):
        start, table = (self.length(name), self.block_table(name))
        needed = self.allocator.blocks_for(start + new) - len(table)
        table = self.tables.get(name, [])
        for _ in range(needed):
            table += self.allocator.allocate(1)
        self.tables[name], self.lengths[name] = (table, start + new)
        return self.slots(table, range(start, start + new))

    def gather(self, layer, name):
        slots = self.slots(self.tables[name], range(self.lengths[name]))
        k, v = self.pool.read(layer, slots)
        return (k.transpose(0, 1), v.transpose(0, 1))

    def free(self, name):
        self.allocator.free(self.tables.pop(name))
        del self.lengths[name]

    def slots(self, table, positions):
        size = self.allocator.block_size
        return [table[p // size] * size + p % size for p in positions]
