# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # {number} · {title}
#
# Two sentences: what hurts, and what the reader can do about it at the end.
#
# | | |
# |---|---|
# | You need | PyTorch, and the units that this one stands on |
# | Time | about an hour |
# | Runs on | a laptop with 2 GB of free memory; no GPU |
# | Points | 2, in one exercise |

# %%
import torch

from fridge import models, pictures
from fridge.notebook import scoreboard
from fridge.workbench import measure, plots

# %% [markdown]
# ## 1 · The pain: a name for it
#
# Run today's way on the real model, and watch it hurt. Cells that run the model are tagged `for-real`: grading skips
# them, so no exercise needs one.

# %% tags=["for-real"]
model = models.load()
print(f"{models.name()}: {model.config.layers} layers, {model.dtype} on {model.device}")

# %% [markdown]
# ## 2 · The picture: what changes
#
# One figure of the idea, drawn by code in `fridge/pictures/` and readable in grey, with a sentence in words below it.
#
# ## 3 · The prediction
#
# A number that the reader writes down before measuring it: bytes, calls, tokens per second. Where it is arithmetic, it
# is an exercise, and graded to the byte.
#
# ## 4 · Build it
#
# Four to eight exercises, each one function or one small class. This one shows the form; put your own in its place.
#
# ### Exercise 1 · Blocks for tokens (2 points)
#
# Memory is handed out in *blocks*, each with room for `block_size` tokens. How many does a text need? A block that is
# begun counts whole, and numbers are exact, however large.
#
# <details><summary>Hint 1</summary>How many blocks are full? Is anything left over?</details>
# <details><summary>Hint 2</summary>Division that rounds down, of a number that is a little larger.</details>


# %% nbgrader={"grade": false, "grade_id": "{exercise}", "locked": false, "schema_version": 3, "solution": true, "task": false}
def {function}(tokens, block_size):
    """How many blocks hold a text.

    Args:
        tokens: of the text, 0 or more.
        block_size: tokens that fit into a block, at least 1.

    Returns:
        The number of blocks; none for no tokens.
    """
    ### BEGIN SOLUTION
    return -(-tokens // block_size)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "{exercise}-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
from fridge.testing import exercise, expect_equal

with exercise("{exercise}"):
    expect_equal({function}(5, 4), 2, "blocks for 5 tokens, 4 in each", cause="a block that is begun counts whole")
    expect_equal({function}(8, 4), 2, "blocks for 8 tokens, 4 in each", cause="two blocks are full, and nothing is left")
    ### BEGIN HIDDEN TESTS
    # Looks at: a single token; blocks of one token; no tokens; numbers that no float holds.
    # Stated by: "A block that is begun counts whole" | "at least 1" | "none for no tokens" |
    #   "numbers are exact, however large"
    # Right because: rounding down a negative number is rounding up its size, and integers
    #   stay exact.
    expect_equal({function}(1, 16), 1, "blocks for 1 token, 16 in each", cause="a block that is begun counts whole")
    expect_equal({function}(7, 1), 7, "blocks for 7 tokens, 1 in each")
    expect_equal({function}(0, 4), 0, "blocks for 0 tokens, 4 in each", cause="no tokens need no block")
    expect_equal(
        {function}(2**60 + 1, 2),
        2**59 + 1,
        "blocks for 2**60 + 1 tokens, 2 in each",
        cause="a float has 53 bits: integers stay exact with //",
    )
    ### END HIDDEN TESTS

# %% [markdown]
# ## 5 · For real
#
# The reader's code inside the real model, measured and plotted, beside the library that people use.

# %% tags=["for-real"]
if scoreboard.ready("{exercise}"):
    print({function}(1000, 16), "blocks for 1000 tokens")

# %% [markdown]
# ## 6 · What others report, what we measured
#
# | claim | source | here |
# |---|---|---|
# | what a paper says, with its machine | who, when, where in it | what the cells above measured |
#
# Why they differ. When an idea doesn't pay here, that stands here too.
#
# ## 7 · What this unit doesn't claim
#
# - What was left out.
#
# Three things to read next, primary sources.
#
# ## What stays
#
# Two sentences to remember.

# %% tags=["for-real"]
from fridge.notebook import recall

recall.ask("{unit}")

# %% [markdown]
# ## Your score

# %% tags=["for-real"]
scoreboard.show("{unit}")
