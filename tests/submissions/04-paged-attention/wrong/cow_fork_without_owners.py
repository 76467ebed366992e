"""A fork copies the table and tells the allocator nothing.

loses: copy-on-write-test
"""

# %% nbgrader={"grade": false, "grade_id": "copy-on-write", "locked": false, "schema_version": 3, "solution": true, "task": false}
def fork(block_table, allocator):
    return list(block_table)



def make_writable(block_table, start, end, allocator, pool):
    size = allocator.block_size
    touched = range(start // size, -(-end // size)) if end > start else ()
    shared = [index for index in touched if allocator.ref_count(block_table[index]) > 1]
    table = list(block_table)
    for index, target in zip(shared, allocator.allocate(len(shared)), strict=True):
        pool.copy_block(table[index], target)
        allocator.free([table[index]])
        table[index] = target
    return table
