"""Cells between the exercises end the process: the exercises, all right, still count."""

# %% after="work-test"
import os
os._exit(0)

# %% after="memory-test"
import ctypes
ctypes.string_at(0)

# %% after="rope-test"
import sys
sys.exit(1)

# %% after="kv-state-test"
raise KeyboardInterrupt

# %% after="generate-test"
while True:
    pass
