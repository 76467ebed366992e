"""Takes private memory in pieces of 64 MB until it may not, at most 4 GB."""

# %% after="work-test"
import torch
pieces = []
try:
    while len(pieces) < 64:
        pieces.append(torch.empty(2**24))  # not touched: reserving is enough
except RuntimeError:
    print("stopped below 2.2 GB:", len(pieces) * 64 < 2200)
pieces.clear()
try:
    torch.ones(2**30)
except RuntimeError as error:
    print("torch stopped too")
