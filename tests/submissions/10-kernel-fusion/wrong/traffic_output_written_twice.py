"""An output that another kernel reads, too, is written twice.

loses: traffic-test
told: one kernel writes it, once
"""

# %% nbgrader={"grade": false, "grade_id": "traffic", "locked": false, "schema_version": 3, "solution": true, "task": false}
def traffic(ops, groups, sizes, outputs):
    """Bytes that a list of operations moves, when each group is one kernel.

    Args:
        ops: a list of dicts, each with "name", "kind", "do" and "of", as above.
        groups: a list of lists of names, in any order; each operation is in exactly one.
        sizes: a dict, name -> bytes, of all results and all inputs.
        outputs: a list of names of operations whose results are needed in the end; others may
            need them, too.

    Returns:
        (read, written): whole numbers of bytes, of all kernels together. Kernels share
        nothing but memory: what two of them need is read twice. What nobody needs isn't
        written.
    """
    of = {op["name"]: op["of"] for op in ops}
    read, between = 0, set()
    for group in groups:
        needs = {part for name in group for part in of[name]} - set(group)
        read += sum(sizes[name] for name in needs)
        between |= needs & set(of)
    written = sum(sizes[name] for name in between) + sum(sizes[name] for name in outputs)
    return read, written
