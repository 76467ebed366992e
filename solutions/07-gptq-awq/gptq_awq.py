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
# # 07 · GPTQ and AWQ
#
# Rounding every weight to the nearest value treats all weights alike. The model doesn't: some inputs of a layer are loud,
# others silent, and many say the same thing twice. *GPTQ* and *AWQ* read a little text first, see which errors would
# reach the outputs, and choose their values by that. The file that they write is the same size.
#
# By the end you have built both, and the order in which a whole model is quantized, block after block. Three bits
# rounded to nearest break the model of this course. Yours have to bring it back to its senses.
#
# | | |
# |---|---|
# | You need | PyTorch, quantization in groups (unit 02), matrix inverse and trace |
# | Time | about three hours |
# | Runs on | a laptop with 2 GB of free memory; no GPU |
# | Points | 2, in one exercise |

# %%
import torch

from fridge import models, pictures
from fridge.models.caches import ConcatCache
from fridge.notebook import scoreboard
from fridge.quantization import grids, quantized
from fridge.workbench import text

# %% tags=["for-real"]
model = models.load()
tokenizer = models.load_tokenizer()
linear_weights = sum(layer.weight.numel() for _, layer in quantized.linears(model))
print(f"{models.name()}: {linear_weights / 1e6:.0f} million weights in its linear layers")

# %% [markdown]
# ## 1 · The pain: three bits
#
# Unit 02 ended where rounding fails. Take it up there. *Rounding to nearest*: consecutive weights of a row form a
# **group**, each group lays 2, 4, 8 … equally spaced values from its smallest weight to its largest, and every weight
# takes the nearest. That set of values is the group's **grid**. Here is the model with eight values a group, which is
# three bits, with grids of whole rows and of 64 weights.
#
# *Perplexity* measures how surprised a model is by a text (unit 02): low is good, and a model that chooses blindly among
# $n$ words has $n$.


# %% tags=["for-real"]
def continue_text(some_model, prompt="The capital of France is", tokens=12):
    ids, cache = tokenizer(prompt, return_tensors="pt").input_ids, ConcatCache()
    reply = []
    for _ in range(tokens):
        ids = some_model(ids, cache, last_only=True).argmax(-1)
        reply.append(int(ids))
    return prompt + tokenizer.decode(reply)


def quick_perplexity(some_model, windows=4, size=512):
    page = tokenizer(text.prose()[:60_000], return_tensors="pt").input_ids[0]
    losses = []
    for tokens in page[: windows * size].reshape(windows, size):
        logits = some_model(tokens[None])[0, :-1].float()
        losses.append(torch.nn.functional.cross_entropy(logits, tokens[1:]))
    return float(torch.stack(losses).mean().exp())


def show(name, some_model):
    print(f"{name:24}{quick_perplexity(some_model):9.1f}  {continue_text(some_model)!r}")


# %% tags=["for-real"]
print(f"{'weights':24}{'perplexity':>9}")
show("as they came", model)
for name, bits, size in (
    ("4 bits, groups of 64", 4, 64),
    ("3 bits, groups of 64", 3, 64),
    ("3 bits, a grid a row", 3, None),
):
    rounded_model = quantized.round_trip(
        model, lambda weight: grids.round_to_nearest(weight, bits, size)
    )
    show(name, rounded_model)
    del rounded_model
quantized.tidy()

# %% [markdown]
# One bit less, and the model forgets what it knew. (2 044 scored tokens are few: read the orders of magnitude. Section 5
# measures properly.)
#
# The grid is as fine as three bits allow. What is left to choose? For each weight, *which* value of the grid. Nearest
# looks like the best choice that there is. It is, for each weight alone. A model never sees a weight alone.
#
# ## 2 · The picture: the best value isn't the nearest
#
# Take an output that two inputs make: $y = w_1 x_1 + w_2 x_2$. Where $x_1$ is large, $x_2$ mostly is, too: the inputs are
# **correlated**. Move $w_1$ down and $w_2$ up, and much of the error cancels.

# %% tags=["for-real"]
pictures.two_weights()

# %% [markdown]
# *In words: a grid of dots, the pairs of values that the two weights may take, and between the dots a cross, the weights
# as they are. Ellipses around the cross join pairs whose outputs are equally wrong; they are long from upper left to lower
# right. The nearest dot lies across the ellipses, far out. A dot that is farther from the cross lies along them, nearly
# inside the smallest. An arrow path leads there: round the first weight, slide the second along to where the ellipse is
# lowest, round it too.*
#
# The path is all of **GPTQ**: round one weight, let the others make up for its error, and go on with the next. What it
# needs to know is the shape of the ellipses, and that stands in the inputs, which you can collect.
#
# **AWQ** needs even less: how loud each input is. Before it rounds, it makes the weights of loud inputs larger, and the
# inputs smaller to match, so that the same grid is finer for them.
#
# Neither changes the file: codes of three or four bits, and a **scale** and a **zero point** for each group. A weight is
#
# $$ w \approx (\text{code} - \text{zero point}) \cdot \text{scale}, $$
#
# with a zero point that is a whole number, of as many bits as a code. It is the code of the weight 0, so that 0 stays 0.
# `fridge.quantization.grids` has this grid ready:

# %%
some_weights = torch.tensor([[-0.9, 0.14, 0.5, 1.2]])
grid = grids.fit(some_weights, bits=3)
print("scale     ", grid.scale.tolist())
print("zero point", grid.zero_point.tolist())
print("codes     ", grid.codes(some_weights).tolist())
print("values    ", grid.round(some_weights).tolist())

# %% [markdown]
# ## 3 · The prediction
#
# ### Exercise 1 · Bits a weight (2 points)
#
# Three bits are never three bits. A row of a weight matrix has one code for each of its `columns` weights, and each group
# of the row has a scale and a zero point besides. Groups begin anew with each row. If the row isn't a multiple of the
# group, the last group is **ragged** (shorter) and has its scale and its zero point all the same.
#
# How many bits does a weight take, all in all? Bits are counted without gaps, so the answer is mostly no whole number.
#
# <details><summary>Hint 1</summary>How many groups has a row of 576 weights, in groups of 128? -(-a // b) rounds up.
# </details>
# <details><summary>Hint 2</summary>All bits of a row, divided by its weights.</details>
# <details><summary>Hint 3</summary>zero_bits may be 0: such a format has no zero points. Python takes 0 for false; None is
# something else.</details>


# %% nbgrader={"grade": false, "grade_id": "effective-bits", "locked": false, "schema_version": 3, "solution": true, "task": false}
def effective_bits(bits, group_size, columns, scale_bits=16, zero_bits=None):
    """Bits that a weight of a row takes, its share of scales and zero points included.

    Args:
        bits: of a code.
        group_size: consecutive weights of a row that share a scale and a zero point; the last
            group may be ragged. None, or more than the row has: the row is one group.
        columns: weights of a row, at least 1.
        scale_bits: of a group's scale.
        zero_bits: of a group's zero point, 0 if there is none; None: as many as `bits`.

    Returns:
        All bits of the row, divided by `columns`; exact to nine digits behind the point.
    """
    ### BEGIN SOLUTION
    groups = -(-columns // (group_size or columns))
    ruler = scale_bits + (bits if zero_bits is None else zero_bits)
    return bits + groups * ruler / columns
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "effective-bits-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
import torch

from fridge.testing import exercise, expect_close, expect_number

with exercise("effective-bits"):

    def expect_bits(expected, what, cause="", **row):
        got = expect_number(effective_bits(**row), f"bits a weight, {what}", cause)
        exact = torch.tensor(expected, dtype=torch.float64)
        expect_close(got, exact, f"bits a weight, {what}", cause, atol=1e-4)
        columns = row["columns"]
        expect_close(
            (got - row["bits"]) * columns,
            (exact - row["bits"]) * columns,
            f"bits of all scales and zero points, computed from your bits a weight, {what}",
            "nothing is rounded, and float32 has seven digits; Python's own numbers have more",
            atol=1e-9 * columns,
        )

    expect_bits(
        4 + (16 + 4) / 32,
        "4 bits, a row of 32, one group of 32",
        "32 codes of 4 bits, a scale of 16 and a zero point of 4, shared by 32 weights",
        bits=4,
        group_size=32,
        columns=32,
    )
    expect_bits(
        3 + 9 * (16 + 3) / 576,
        "3 bits, a row of 576, groups of 64",
        "the row has nine groups, each with a scale, and a zero point of as many bits as a code",
        bits=3,
        group_size=64,
        columns=576,
    )
    expect_bits(
        3 + (16 + 3) / 576,
        "3 bits, a row of 576, group_size None",
        "None: one scale and one zero point for the row",
        bits=3,
        group_size=None,
        columns=576,
    )
    expect_bits(
        3 + 5 * (16 + 3) / 576,
        "3 bits, a row of 576, groups of 128",
        "576 is four groups of 128 and a ragged one of 64, which has a scale and a zero point, "
        "too, and no codes but its own",
        bits=3,
        group_size=128,
        columns=576,
    )
    ### BEGIN HIDDEN TESTS
    # Looks at: other scales, and other zero points than codes; no zero points; groups larger
    #   than the row; groups of one; a row of one weight; rows of millions; a ragged last group
    #   of one.
    # Stated by: "zero_bits: of a group's zero point, 0 if there is none; None: as many as
    #   `bits`." | "0 if there is none" | "None, or more than the row has: the row is one
    #   group." | "consecutive weights of a row that share a scale and a zero point" |
    #   "weights of a row, at least 1." | "exact to nine digits behind the point." | "the last
    #   group may be ragged."
    # Right because: a group's scale and zero point take their bits however few weights share
    #   them, so groups are rounded up, and nothing else is.
    expect_bits(
        4 + 2 * (32 + 4) / 96,
        "4 bits, a row of 96, groups of 48, scales of 32 bits",
        "scale_bits is an argument",
        bits=4,
        group_size=48,
        columns=96,
        scale_bits=32,
    )
    expect_bits(
        3 + 2 * (16 + 8) / 96,
        "3 bits, a row of 96, groups of 48, zero points of 8 bits",
        "zero_bits is an argument, and as many as `bits` only where it is None",
        bits=3,
        group_size=48,
        columns=96,
        zero_bits=8,
    )
    expect_bits(
        4 + 3 * 16 / 96,
        "4 bits, a row of 96, groups of 32, zero points of 0 bits",
        "0 bits are none; only None stands for as many as `bits`",
        bits=4,
        group_size=32,
        columns=96,
        zero_bits=0,
    )
    expect_bits(
        2 + (16 + 2) / 48,
        "2 bits, a row of 48, groups of 64",
        "the row is one group, and a group has no weights beyond the row's end",
        bits=2,
        group_size=64,
        columns=48,
    )
    expect_bits(
        4 + (16 + 4),
        "4 bits, groups of one",
        "each weight has a scale and a zero point of its own",
        bits=4,
        group_size=1,
        columns=7,
    )
    expect_bits(8 + 24, "8 bits, a row of one weight", bits=8, group_size=128, columns=1)
    expect_bits(
        3 + 3 * (16 + 3) / 65,
        "3 bits, a row of 65, groups of 32",
        "the last group has one weight, and a scale and a zero point",
        bits=3,
        group_size=32,
        columns=65,
    )
    expect_bits(
        3 + 1_000_001 * (16 + 3) / 64_000_001,
        "3 bits, a row of 64 000 001, groups of 64",
        "a million groups and one more; nothing is rounded",
        bits=3,
        group_size=64,
        columns=64_000_001,
    )
    expect_bits(
        3 + 19 / 64_000_001,
        "3 bits, a row of 64 000 001, group_size None",
        "0.0000003 bits more than three: nothing is rounded",
        bits=3,
        group_size=None,
        columns=64_000_001,
    )
    ### END HIDDEN TESTS

# %% [markdown]
# Now predict, before you run the next two cells.
#
# 1. How many megabytes do the linear layers of this model take, at 3 bits in groups of 64? And how much of that would
#    groups of 32 cost more?
# 2. In unit 02, four bits in groups of 32 gave the default model's weights back without any error. Will they here?

# %% tags=["for-real"]
if scoreboard.ready("effective-bits"):
    print(f"{'format':24}{'bits a weight':>14}{'MB':>8}")
    for bits in (4, 3, 2):
        for size in (32, 64, 128, None):
            of_layers = sum(
                layer.weight.numel() * effective_bits(bits, size, layer.in_features)
                for _, layer in quantized.linears(model)
            )
            name = f"{bits} bits, " + (f"groups of {size}" if size else "a grid a row")
            print(f"{name:24}{of_layers / linear_weights:14.3f}{of_layers / 8e6:8.1f}")


# %% tags=["for-real"]
def error_in_steps(round_to_grid, bits=4, size=32):
    """RMS of the error in every third matrix, as a part of the grid's step."""
    squares = steps = 0.0
    for _, layer in list(quantized.linears(model))[::3]:
        weight = layer.weight.float()
        parts = weight.unflatten(1, (-1, size)).flatten(0, 1)  # [groups, size]
        step = (parts.amax(1, keepdim=True) - parts.amin(1, keepdim=True)) / (2**bits - 1)
        squares += float((round_to_grid(parts, step) - parts).square().sum())
        steps += float(step.square().sum()) * size
    return (squares / steps) ** 0.5


def with_a_minimum(parts, step):  # unit 02's
    low = parts.amin(1, keepdim=True)
    return ((parts - low) / step.clamp(min=1e-12)).round() * step + low


def with_a_zero_point(parts, step):  # this unit's
    return grids.round_to_nearest(parts, 4)


print(f"a floating-point minimum: {error_in_steps(with_a_minimum):.6f} steps")
print(f"a whole zero point:       {error_in_steps(with_a_zero_point):.6f} steps")

# %% [markdown]
# <details><summary>What is going on</summary>@WHY@</details>
#
# Either way the four-bit figures of *this* model say little about four bits: its weights stood on a grid of 16 values
# before, and what you see is how two grids meet. So the contest of this unit is at three bits and at two, where eight or
# four values have to do the work of sixteen. With internet, `FRIDGE_MODEL=HuggingFaceTB/SmolLM2-135M-Instruct` in the
# environment gives you weights that were never rounded.
#

# %% [markdown]
# ## 5 · For real
#
# Your code inside the real model, measured beside what people use.
#
# ## 6 · What others report, what we measured
#
# Papers' figures beside the cells' above.
#
# ## 7 · What this unit doesn't claim
#
# What was left out.
#
# Three things to read next:
#
# 1. Frantar et al., *GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers*, 2022 (arXiv
#    2210.17323), section 3: the column loop, the blocks, the Cholesky factor.
# 2. Lin et al., *AWQ: Activation-aware Weight Quantization*, 2023 (arXiv 2306.00978), section 3: why scaling protects.
# 3. Hassibi and Stork, *Second order derivatives for network pruning: Optimal Brain Surgeon*, 1992: where it comes from.
#
# ## What stays
#
# An error in a weight costs what the layer's inputs make of it: collect them, and three bits can do what nearest values
# can't. A layer's error isn't the model's: quantize in the order in which the model computes.

# %% tags=["for-real"]
from fridge.notebook import recall

recall.ask("07-gptq-awq")

# %% [markdown]
# ## Your score

# %% tags=["for-real"]
scoreboard.show("07-gptq-awq")
