"""Takes private memory in pieces of 64 MB until it may not, at most 4 GB."""

# %% after="work-test"
import torch
pieces = []
try:
    while len(pieces) < 64:
        pieces.append(bytearray(64 * 2**20))
except MemoryError:
    print("stopped below 2.2 GB:", len(pieces) * 64 < 2200)
pieces.clear()
try:
    torch.ones(2**30)
except RuntimeError as error:
    print("torch stopped too")
