"""Prints the environment and the command line of its process."""

# %% after="work"
import os, sys
print(dict(os.environ))
print(open("/proc/self/environ", "rb").read())
print("names", sorted(os.environ))
