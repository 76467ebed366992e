"""Looks at a product's first input alone, for the second is a weight.

loses: fuse-test
told: whichever comes second
"""

# %% nbgrader={"grade": false, "grade_id": "fuse", "locked": false, "schema_version": 3, "solution": true, "task": false}
def fuse(ops, outputs):
    """Put operations into kernels.

    Args:
        ops: a list of dicts with "name", "kind", "do" and "of"; an operation reads inputs, and
            results of operations before it. There may be some hundreds.
        outputs: names of operations whose results are needed in the end.

    Returns:
        A list of kernels in an order in which they can run; each a dict of lists of names:
        "ops", in an order in which they can run, each operation in one kernel; "reads", what
        they need and don't make; "writes", what other kernels or the outside need of them.
        Reads and writes hold a name once, in any order. All operations are computed, also
        those that nobody needs.
    """
    by_name = {op["name"]: op for op in ops}
    number = {}
    for op in ops:
        least = 0 if op["kind"] == "product" else 1
        for part in (op["of"][:1] if op["kind"] == "product" else op["of"]):
            if part in number:
                step = by_name[part]["kind"] in ("product", "across") and op["kind"] != "product"
                least = max(least, number[part] + step)
        number[op["name"]] = least
    groups = []
    for stage in range(max(number.values(), default=0) + 1):
        rows = [op["name"] for op in ops if number[op["name"]] == stage and op["kind"] != "product"]
        products = [[op["name"]] for op in ops if number[op["name"]] == stage and op["kind"] == "product"]
        groups += ([rows] if rows else []) + products
    kernels = []
    for names in groups:
        reads = dict.fromkeys(part for name in names for part in by_name[name]["of"] if part not in names)
        kernels.append({"ops": names, "reads": list(reads), "writes": []})
    needed = set(outputs).union(*(kernel["reads"] for kernel in kernels))
    for kernel in kernels:
        kernel["writes"] = [name for name in kernel["ops"] if name in needed]
    return kernels
