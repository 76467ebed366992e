"""Prints 300 MB, shows thousands of rich outputs, and an error of millions of empty lines."""

# %% after="work-test"
line = "x" * 999 + "\n"
for _ in range(300):
    print(line * 1000)

# %% after="memory-test"
from IPython.display import HTML, display
for number in range(3000):
    display(HTML("y" * 1000))

# %% after="rope-test"
raise RuntimeError("\n" * 20_000_000)
