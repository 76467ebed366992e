"""Prints 20 MB in a cell."""

# %% after="work-test"
for _ in range(20):
    print("x" * 2**20)
