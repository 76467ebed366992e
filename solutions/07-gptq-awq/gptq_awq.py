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
# Two sentences: what hurts, and what the reader can do about it at the end.
#
# | | |
# |---|---|
# | You need | PyTorch, and the units that this one stands on |
# | Time | about an hour |
# | Runs on | a laptop with 2 GB of free memory; no GPU |
# | Points | 5, in one exercise |

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
# ### Exercise 8 · Block after block (5 points)
#
# One thing is left: which inputs? You could run the model once on the calibration text, record what every layer is given, and
# round all layers. That is the order that tools have got wrong. For once the first block is rounded, the second is given
# something else than you recorded, and the tenth something else by far. A layer that is rounded for inputs which it never gets corrects the wrong errors: in this
# model that is *worse* than rounding to nearest, as the last section shows.
#
# So go block after block. Run a block on what the rounded blocks before it give, record the inputs of all its layers in that one
# run, round its layers, and run it again: what comes out now is what the next block is given.
#
# A **hook** (钩子) is a function that a layer calls before it computes. With PyTorch's layers it is
# `layer.register_forward_pre_hook(hook)`, here too. Two things go wrong with hooks. One that is registered too late, or on a copy, never
# fires; a library did that for months, rounded to nearest, and called it GPTQ. And one that stays
# keeps the inputs of every later run in memory.
#
# If a layer can't be rounded (a Hessian without an inverse, say), whoever called must hear of it. Another library caught that
# error, rounded to nearest, and went on.
#
# <details><summary>Hint 1</summary>A dict, name -> inputs, that hooks fill while the block runs. Each hook needs the name of its own layer:
# a lambda in a loop looks its names up when it is called, and by then the loop is at its end.</details>
# <details><summary>Hint 2</summary>For each block: register, run, remove, call quantize for each layer, run again.</details>
# <details><summary>Hint 3</summary>`try: … finally: …` does its last part also when there is an error.</details>


# %% nbgrader={"grade": false, "grade_id": "quantize-model", "locked": false, "schema_version": 3, "solution": true, "task": false}
def quantize_model(blocks, x, quantize):
    """Round all layers of a model, each from the inputs that it is really given.

    A block runs over x twice at most: once to record, once rounded. All sequences may go
    through it at once, or some after others.

    Args:
        blocks: a list, at least one. block(x) is what a block makes of x, of the same shape;
            block.layers is a dict, name -> linear layer, with any names, in any order.
            layer.register_forward_pre_hook(hook) works as in PyTorch: whenever its block runs,
            the layer first calls hook(layer, args), args a tuple of one tensor, its inputs
            [batch, tokens, in]; the hook returns None. What it gives is a handle, and
            handle.remove() takes the hook away.
        x: [batch, tokens, hidden], what the first block is given.
        quantize: quantize(layer, inputs) rounds the layer's weight in place, and returns
            nothing. It is called once for each layer, with all inputs that the layer has when
            the blocks before its own are rounded and no layer of its own block is: a tensor
            [.., in], each token of each sequence once, in the order of x.

    Raises:
        What quantize raises.

    Either way no hook is left on any layer.
    """
    ### BEGIN SOLUTION
    for block in blocks:
        seen = {}

        def record(name, seen=seen):
            return lambda layer, args: seen.update({name: args[0]})

        handles = [
            layer.register_forward_pre_hook(record(name)) for name, layer in block.layers.items()
        ]
        try:
            block(x)
        finally:
            for handle in handles:
                handle.remove()
        for name, layer in block.layers.items():
            quantize(layer, seen[name])
        x = block(x)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "quantize-model-test", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
from fridge.testing import (
    RecordingModel,
    exercise,
    expect_close,
    expect_equal,
    expect_raises,
    expect_true,
)

with exercise("quantize-model"):

    def check(model, what):
        quantize_model(list(model.blocks), model.x.clone(), model.quantize)
        expect_equal(
            sorted(name for name, _ in model.quantize.calls),
            model.names,
            f"{what}: the layers that quantize was called for",
            cause="quantize is called once for each layer of each block, the last block, too; "
            "hooks hear of a run only if they were registered before it",
        )
        for name, inputs in model.quantize.calls:
            expect_close(
                inputs,
                model.right(name),
                f"{what}: the inputs that quantize was given for {name}, one row a token",
                cause=model.cause(name, inputs),
                atol=1e-4,
            )
        for block in model.blocks:
            expect_true(
                block.sequences <= 2 * len(model.x),
                f"{what}: sequences that block {block.number} read, {len(model.x)} being in x",
                f"at most {2 * len(model.x)}",
                block.sequences,
                cause="one run records the inputs of all layers, one more gives the next block its x",
            )
        expect_equal(
            model.hooks,
            0,
            f"{what}: hooks that are left",
            cause="handle.remove() for each handle, once the inputs are recorded",
        )

    check(RecordingModel(1), "one block")
    check(RecordingModel(2, seed=1), "two blocks")
    ### BEGIN HIDDEN TESTS
    # Looks at: many blocks; a single sequence, and a single token; many sequences of many
    #   tokens; blocks with layers of their own; layers listed in another order than they run;
    #   a layer that can't be rounded, and hooks after it; a second model.
    # Stated by: "each from the inputs that it is really given" | "x: [batch, tokens, hidden], what
    #   the first block is given." | "each token of each sequence once, in the order of x" |
    #   "block.layers is a dict, name -> linear layer, with any names, in any order." | "a dict,
    #   name -> linear layer, with any names, in any order" | "What quantize raises." | "Round
    #   all layers of a model"
    # Right because: each layer corrects its errors for the inputs that it will really get,
    #   with the errors of all rounded blocks before it in them.
    check(RecordingModel(5, seed=2), "five blocks")
    check(RecordingModel(2, (1, 4), seed=3), "a single sequence")
    check(RecordingModel(2, (4, 1), seed=4), "sequences of a single token")
    check(RecordingModel(2, (11, 70), seed=5), "eleven sequences of 70 tokens")
    gated = RecordingModel(3, seed=6, only={0: ("up", "down"), 2: ("mix", "out")})
    check(gated, "blocks of two, four and two layers")
    check(RecordingModel(2, seed=7, is_backward=True), "layers listed from the last to the first")
    for fails_at in (0, 5):
        failing = RecordingModel(2, seed=8, fails_at=fails_at)
        what = f"quantize raises ValueError in its call {fails_at + 1}"
        expect_raises(
            ValueError,
            lambda failing=failing: quantize_model(
                list(failing.blocks), failing.x.clone(), failing.quantize
            ),
            what,
            cause="let it through: whoever called must know that the layer isn't rounded",
        )
        expect_equal(
            failing.hooks,
            0,
            f"{what}: hooks that are left",
            cause="remove them before quantize is called, or in a `finally`",
        )
    ### END HIDDEN TESTS

# %% [markdown]
# ## 5 · For real
#
# The reader's code inside the real model, measured and plotted, beside the library that people use.

# %% tags=["for-real"]
print("later")

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

recall.ask("07-gptq-awq")

# %% [markdown]
# ## Your score

# %% tags=["for-real"]
scoreboard.show("07-gptq-awq")
