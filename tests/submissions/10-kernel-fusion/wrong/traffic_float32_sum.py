"""Adds the bytes up in a float32 tensor: above 16 million it loses single bytes.

loses: traffic-test
told: gigabytes
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

    def total(names):
        return int(torch.tensor([sizes[name] for name in names], dtype=torch.float32).sum())

    read, wanted = [], set(outputs)
    for group in groups:
        needs = {part for name in group for part in of[name]} - set(group)
        read += needs
        wanted |= needs
    return total(read), total([name for name in of if name in wanted])
