"""All allocators share one free list.

loses: block-allocator-test
told: each allocator has blocks of its own
"""

# %% nbgrader={"grade": false, "grade_id": "block-allocator", "locked": false, "schema_version": 3, "solution": true, "task": false}
class BlockAllocator:
    free_blocks = []
    def __init__(self, num_blocks, block_size):
        self.num_blocks, self.block_size = (num_blocks, block_size)
        self.owners = [0] * num_blocks
        if not self.free_blocks:
            self.free_blocks.extend(range(num_blocks))

    @property
    def num_free(self):
        return len(self.free_blocks)

    def blocks_for(self, tokens):
        return -(-tokens // self.block_size)

    def allocate(self, count):
        if not 0 <= count <= self.num_free:
            raise ValueError(f'{count} blocks wanted, {self.num_free} are free')
        taken = [self.free_blocks.pop() for _ in range(count)]
        for block in taken:
            self.owners[block] = 1
        return taken

    def share(self, blocks):
        for block in blocks:
            if self.ref_count(block) == 0:
                raise ValueError(f'block {block} has no owner')
        for block in blocks:
            self.owners[block] += 1

    def free(self, blocks):
        for block in blocks:
            if self.ref_count(block) < list(blocks).count(block):
                raise ValueError(f'block {block} has {self.owners[block]} owners')
        for block in blocks:
            self.owners[block] -= 1
            if self.owners[block] == 0:
                self.free_blocks.append(block)

    def ref_count(self, block):
        if not 0 <= block < self.num_blocks:
            raise ValueError(f'there is no block {block}')
        return self.owners[block]
