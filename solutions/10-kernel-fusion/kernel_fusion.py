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
# # 10 · Kernel fusion
#
# A model is written as a list of small operations: square, mean, root, multiply. A machine that obeys the list goes to memory
# and back for each of them, and pays for each call. An engine such as TensorRT-LLM rewrites the list first, so that many
# operations become one **kernel** (a function that runs on the device), and calls it the ceiling of speed (速度的天花板).
#
# By the end you have what such an engine is made of: kernels that do several operations in one pass, counted to the byte; a
# layer whose seven matrix products are four; a product that reads 4-bit weights; a small compiler that finds out by itself what
# can be fused; launches that are recorded and replayed; and an autotuner. And you know when all that pays, because you will
# have counted, and measured the tools that people use.
#
# | | |
# |---|---|
# | You need | the two memories of unit 06, 4-bit codes from unit 02, a Llama's layer (unit 03) |
# | Time | about three hours |
# | Runs on | a laptop with 2 GB of free memory; no GPU |
# | Points | 38, in nine exercises |

# %%

import torch
import torch.nn.functional as F

from fridge import models, pictures
from fridge.attention import compiling, kernels
from fridge.attention.kernels import DEVICE, tl, triton
from fridge.fusion import counting, graphs, peers
from fridge.fusion.merged import MergedLlama
from fridge.memory.cards import CARDS
from fridge.models.caches import ConcatCache
from fridge.notebook import scoreboard
from fridge.testing import Card, Device, Hbm
from fridge.workbench import measure, tables

# %% [markdown]
# ## 1 · The pain: all the errands of a token
#
# One token of SmolLM2, as PyTorch computes it by default (people call it *eager*): how many operations does it ask for, how many of them are
# products of matrices, and how long does an operation take that has nothing to do?

# %% tags=["for-real"]
model, tokenizer = models.load(), models.load_tokenizer()
prompt = tokenizer("The capital of France is", return_tensors="pt")["input_ids"].to(
    model.device
)


def a_token(some_model):
    """A function that computes one more token behind the prompt."""
    cache = ConcatCache()
    token = some_model(prompt, cache, last_only=True).argmax(-1)
    return lambda: some_model(token, cache, last_only=True)


eager_calls = counting.calls(a_token(model))
tiny = torch.ones(1, 1, device=model.device)
per_call = measure.seconds(lambda: [tiny + tiny for _ in range(1000)]) / 1000
eager_time = measure.seconds(a_token(model), repeats=9)
products = counting.products(eager_calls)
print(f"{eager_calls.total()} operations that compute or copy, {products} of them products")
print(
    f"an addition of one number to another: {1e6 * per_call:.1f} µs, nearly all of it the call"
)
print(f"a token: {1e3 * eager_time:.0f} ms; {eager_calls.total()} such calls alone: ", end="")
print(f"{1e3 * per_call * eager_calls.total():.1f} ms")
tables.show(
    ("operation", "calls"), [(n, str(c)) for n, c in eager_calls.most_common(8)], numbers=[1]
)

# %% [markdown]
# Every operation that isn't a product reads its inputs from memory, computes a little, and writes the result, which the next
# one reads again. On a GPU a launch costs some microseconds, as a call does here, whatever it computes: a model that asks
# for a thousand launches a token can't be faster than a thousand launches.
#
# So there are two costs, and fusing promises to cut both: the **calls**, and the **bytes** that go to memory only to come
# back. Which of them matters *here*? That is arithmetic, and you do it first.
#
# ## 2 · The picture: what stays inside

# %% tags=["for-real"]
pictures.one_trip()

# %% [markdown]
# *In words: on the left three boxes, add, silu and multiply, each with arrows down to memory and up again; two results, a and s, go down and
# come back. On the right one box holds the three operations; three inputs go up, one result goes down, and a and s are never in memory.*
#
# A kernel works **row by row**: a row is one token's numbers. What needs its own row alone can be done while the row is at hand. That holds for
# *pointwise* operations (add, multiply, silu) and for sums over a row (the mean of RMSNorm). A product of matrices is another matter: each
# of its rows of results needs all the numbers of a row and all the weights, and libraries have spent thirty years on it. It stays a
# kernel of its own here.
#
# ## 3 · The prediction
#
# ### Exercise 1 · Traffic (3 points)
#
# A list of operations, cut into groups, each of which is one kernel. Count the bytes that go to memory and come from it.
#
# An operation is a dict:
#
# ```python
# {"name": "s", "kind": "pointwise", "do": "silu", "of": ["a"]}      # s = silu(a)
# ```
#
# `"of"` names what it reads: results of operations before it, or inputs, which no operation makes. A name may stand in it twice.
#
# A kernel reads each value that its operations need and that none of them makes, **once**, however often they need it. It
# writes each of its results that is needed elsewhere, once: by an operation of another kernel, or because it is an output
# of the whole list. What is needed nowhere else never leaves the kernel.
#
# <details><summary>Hint 1</summary>For each group, the set of all names in "of", minus those that the group makes.</details>
# <details><summary>Hint 2</summary>What has to be written is what some group reads and doesn't make, and the outputs; of that, the
# results of operations. Inputs are there already.</details>


# %% nbgrader={"grade": false, "grade_id": "traffic", "locked": false, "schema_version": 3, "solution": true, "task": false}
def traffic(ops, groups, sizes, outputs):
    """Bytes that a list of operations moves, when each group is one kernel.

    Args:
        ops: a list of dicts, each with "name", "kind", "do" and "of", as above.
        groups: a list of lists of names, the lists and the names in them in any order; each
            operation is in exactly one.
        sizes: a dict, name -> bytes, of all results and all inputs.
        outputs: a list of names of operations whose results are needed in the end; others may
            need them, too.

    Returns:
        (read, written): whole numbers of bytes, of all kernels together. Kernels share
        nothing but memory: what two of them need is read twice. What nobody needs isn't
        written.
    """
    ### BEGIN SOLUTION
    by_name = {op["name"]: op for op in ops}
    needed, read = set(outputs), 0
    for group in groups:
        outside = {part for name in group for part in by_name[name]["of"]} - set(group)
        read += sum(sizes[part] for part in outside)
        needed |= outside
    return read, sum(sizes[name] for name in by_name if name in needed)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "traffic-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
from fridge.fusion import graphs
from fridge.testing import exercise, expect_equal, expect_parts

with exercise("traffic"):

    def listed(**of):
        """Operations by name, with what they read."""
        return [
            graphs.op(name, "pointwise", "add", *parts.split()) for name, parts in of.items()
        ]

    def expect_moves(ops, groups, sizes, outputs, read, written, what, cause=""):
        given = [list(group) for group in groups], dict(sizes), list(outputs)
        got = expect_parts(
            traffic(ops, *given), "read, written", f"{what}: what traffic returns"
        )
        expect_equal(got[0], read, f"{what}: bytes read", cause)
        expect_equal(got[1], written, f"{what}: bytes written", cause)

    chain = listed(a="x b", s="a", y="s g")
    each = {"x": 100, "b": 1, "g": 10, "a": 100, "s": 100, "y": 100}
    expect_moves(
        chain,
        [["a"], ["s"], ["y"]],
        each,
        ["y"],
        100 + 1 + 100 + 100 + 10,
        300,
        "a = x + b, s = silu(a), y = s * g; three kernels",
        "each kernel reads what it needs from memory and writes its result there",
    )
    expect_moves(
        chain,
        [["a", "s", "y"]],
        each,
        ["y"],
        100 + 1 + 10,
        100,
        "the same in one kernel",
        "a and s stay inside: only x, b and g are read, only y is written",
    )
    expect_moves(
        chain,
        [["a", "s", "y"]],
        each,
        ["a", "y"],
        100 + 1 + 10,
        200,
        "the same in one kernel, outputs a and y",
        "an output is needed outside, though an operation of the kernel needs it, too",
    )
    ### BEGIN HIDDEN TESTS
    # Looks at: a value that a kernel needs twice; one that two kernels need; a name twice in an operation; results
    #   that nobody needs; inputs in several kernels; groups in another order; no operations; a layer of
    #   SmolLM2; outputs that others read; gigabytes.
    # Stated by: "**once**, however often they need it" | "what two of them need is read twice" | "A name may
    #   stand in it twice" | "What nobody needs isn't written" | "Kernels share nothing but memory" | "a list of lists of
    #   names, the lists and the names in them in any order" | "Count the bytes that go to memory and come from it" | "whole numbers of
    #   bytes, of all kernels together" | "others may need them, too" | "It writes each of
    #   its results that is needed elsewhere, once"
    # Right because: inside a kernel a value is at hand for every operation; between kernels there is nothing but
    #   memory, so that a value goes there once if anybody else wants it, and comes back once for each who does.
    fan = listed(a="x", b="a x", c="a b", d="a")
    sizes = {"x": 1000, "a": 200, "b": 30, "c": 4, "d": 50_000}
    once = "a kernel reads a value once, however many of its operations need it"
    whole = [["a", "b", "c", "d"]]
    expect_moves(
        fan, whole, sizes, ["c", "d"], 1000, 50_004, "a, b, c and d in one kernel", once
    )
    both = "each of two kernels reads what it needs; it is written once"
    expect_moves(
        fan, [["a"], ["b", "c"], ["d"]], sizes, ["c", "d"], 2400, 50_204, "a; b and c; d", both
    )
    expect_moves(
        fan,
        [["d"], ["c", "b"], ["a"]],
        sizes,
        ["c", "d"],
        2400,
        50_204,
        "the same, listed in another order",
    )
    shared = "an input is read by each kernel that needs it"
    expect_moves(
        fan,
        [["a", "d"], ["b"], ["c"]],
        sizes,
        ["c", "d"],
        2430,
        50_234,
        "a and d; b; c",
        shared,
    )
    nobody = "what nobody reads and what is no output isn't written"
    expect_moves(
        fan, [["a", "b", "c", "d"]], sizes, ["c"], 1000, 4, "all in one, output c", nobody
    )
    expect_moves(
        fan,
        [["a"], ["b"], ["c"], ["d"]],
        sizes,
        ["c"],
        2630,
        234,
        "one by one, output c",
        nobody,
    )
    twice = listed(a="x x", b="a a")
    expect_moves(
        twice,
        [["a"], ["b"]],
        {"x": 7, "a": 5, "b": 3},
        ["b"],
        12,
        8,
        "a = x * x, b = a * a",
        once,
    )
    expect_moves([], [], {"x": 8}, [], 0, 0, "no operations")
    both = "one kernel writes it, once, whoever needs it: another kernel, the outside, or both"
    chain = listed(a="x", ab="a", b="ab")
    sizes = {"x": 2**24 + 1, "a": 2**31 + 3, "ab": 2**33 + 5, "b": 7}
    read = 2**24 + 1 + 2**33 + 5
    expect_moves(
        chain,
        [["a", "ab"], ["b"]],
        sizes,
        ["ab", "b"],
        read,
        2**33 + 12,
        "an output that another kernel reads, gigabytes",
        both,
    )
    expect_moves(
        chain,
        [["a", "ab", "b"]],
        sizes,
        ["b", "ab", "a"],
        2**24 + 1,
        2**31 + 2**33 + 15,
        "one kernel, all of its results outputs",
        "an output is needed outside, though an operation of the kernel needs it, too",
    )
    layer, out = graphs.layer_ops(0, "x")
    config = graphs.SMOLLM2
    alone = [[op["name"]] for op in layer]
    of_a_layer = "every operation by itself", "what is row by row together"
    for rows, (one, other) in {
        1: ((14_234_384, 56_848), (14_211_584, 41_472)),
        32: ((16_528_384, 1_819_136), (15_798_784, 1_327_104)),
    }.items():
        of_values = graphs.bytes_of(config, layer, rows)
        for words, groups, (read, written) in zip(
            of_a_layer, (alone, graphs.layer_groups(0)), (one, other), strict=True
        ):
            expect_moves(
                layer,
                groups,
                of_values,
                [out],
                read,
                written,
                f"a layer of SmolLM2, {rows} rows, {words}",
            )
    ### END HIDDEN TESTS

# %% [markdown]
# Before you run the next cell, write down two numbers: by how many percent does fusing cut the bytes of a whole layer of SmolLM2, for one
# token at a time, and for 32?

# %% tags=["for-real"]
if scoreboard.ready("traffic"):
    layer_list, layer_out = graphs.layer_ops(0, "x")
    one_by_one = [[op["name"]] for op in layer_list]
    shares = {}
    for rows in (1, 8, 32, 128, 512):
        sizes = graphs.bytes_of(model.config, layer_list, rows)
        weights = sum(size for name, size in sizes.items() if " weight" in name)
        counts = [
            sum(traffic(layer_list, groups, sizes, [layer_out]))
            for groups in (one_by_one, graphs.layer_groups(0))
        ]
        shares[rows] = (weights / 1e6, *((count - weights) / 1e6 for count in counts))
        saved = 1 - counts[1] / counts[0]
        print(
            f"{rows:4} tokens: {counts[0] / 1e6:6.2f} MB, fused {counts[1] / 1e6:6.2f} MB: ",
            end="",
        )
        print(f"{saved:.1%} less, {len(one_by_one)} kernels and {len(graphs.layer_groups(0))}")
    pictures.weights_and_the_rest(shares)

# %% [markdown]
# *In words: for each number of tokens a pair of bars, megabytes that a layer moves one by one and fused. The weights, the same in both, are nearly
# all of the bar for one token, and a small part of it for 512.*
#
# That is the most important figure of this unit. For one token a layer reads 14 MB of weights, and everything else together is
# a hundredth of that: fusing saves **calls**, and hardly a byte. With many tokens at once it saves bytes as well. Whoever
# promises a faster chat from fused pointwise operations means the calls, or hasn't counted.
#
# ## 4 · Build it
#
# ### Exercise 2 · Residual and RMSNorm in one pass (5 points)
#
# The pair that every layer has twice: add what the last product made to the residual stream, keep the sum for later, and normalise it
# for the next product. With $s = x + \text{residual}$, for each token:
#
# $$y_i = \frac{s_i}{\sqrt{\frac 1n \sum_j s_j^2 + \epsilon}} \cdot w_i$$
#
# You compute on the `Hbm` of unit 06, a memory that counts, with an SRAM that is small. New is that it gives you a part of a row:
#
# ```python
# hbm.shape("x")                      # (tokens, hidden)
# hbm.load("x", 0, 64, row=3)         # columns 0 to 63 of row 3; a stop behind the end means it
# hbm.store("y", 0, block, row=3)     # writes columns of row 3, from column 0 on, in y's dtype
# hbm.load("weight", 0, 64)           # of an array of one dimension, values 0 to 63
# ```
#
# Each array has one place in SRAM: the next load of the same array overwrites what lies there (an earlier block turns into NaN). There is room
# for `tile` values each of x, residual, sum and weight. What you compute from them is in registers, which have no more room than that.
#
# - **A row that fits** (`hidden <= tile`): each value of x and residual is read once, the weight once for all tokens, and sum
#   and y are written. Nothing is read twice.
# - **A row that doesn't fit**: y needs the mean of the whole row, so that the row must pass twice. In the second pass read the sum that you have written, which
#   is half as much as x and residual; and the weight, for each token.
#
# **Compute in float32.** The arrays may be float16, and there 300² is infinite. 3 points are for the result, 2 for the bytes.
#
# <details><summary>Hint 1</summary>Two loops over range(0, hidden, tile) for each token: the first adds, stores the sum and gathers
# squares; the second scales and stores y.</details>
# <details><summary>Hint 2</summary>In a row that fits, the second loop runs once, and the sum of the first loop is still at hand.</details>
# <details><summary>Hint 3</summary>hbm.load(…).float() before anything is computed.</details>


# %% nbgrader={"grade": false, "grade_id": "add-rms-norm", "locked": false, "schema_version": 3, "solution": true, "task": false}
def add_rms_norm(hbm, eps, tile):
    """Add a residual, keep the sum, and normalise it.

    Args:
        hbm: holds "x" and "residual" [tokens, hidden], "weight" [hidden], and for the results
            "sum" and "y" [tokens, hidden]; float32 or float16, all alike.
        eps: is added to the mean of the squares, under the root.
        tile: values of each array that SRAM has room for, 1 or more; it needn't divide hidden.

    Computes in float32. Stores sum and y once each. Loads x, residual and weight once each if
    a row fits; if not, x, residual, the stored sum and the weight once for each token (of
    these two, a last tile that is still at hand needn't come again).

    Sums stay within the arrays' dtype. y may be made from the sum before or after it was
    rounded to be stored. A row of zeros comes with an eps above 0.
    """
    ### BEGIN SOLUTION
    tokens, hidden = hbm.shape("x")
    fits = hidden <= tile
    if fits:
        weight = hbm.load("weight").float()
    for token in range(tokens):
        squares = torch.zeros(())
        for first in range(0, hidden, tile):
            x = hbm.load("x", first, first + tile, row=token).float()
            total = x + hbm.load("residual", first, first + tile, row=token).float()
            hbm.store("sum", first, total, row=token)
            squares += total.square().sum()
        root = torch.rsqrt(squares / hidden + eps)
        for first in range(0, hidden, tile):
            if not fits:
                total = hbm.load("sum", first, first + tile, row=token).float()
                weight = hbm.load("weight", first, first + tile).float()
            hbm.store("y", first, total * root * weight, row=token)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "add-rms-norm-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
import torch

from fridge.testing import Hbm, exercise, expect_close, randn

with exercise("add-rms-norm"):

    def expect_normed(x, residual, weight, tile, what, cause="", eps=1e-5, atol=1e-5):
        """Sum and y, against the formula in float64."""
        nothing = torch.full_like(x, torch.nan)
        arrays = {"x": x, "residual": residual, "weight": weight, "sum": nothing, "y": nothing}
        hbm = Hbm(4 * tile * x.element_size(), ("sum", "y"), **arrays)
        add_rms_norm(hbm, eps, tile)
        total = x.double() + residual.double()
        why = (
            cause
            if x.dtype == torch.float16
            else "the sum is x + residual, the new residual stream"
        )
        expect_close(hbm.array("sum"), total, f"{what}: sum", why, atol)
        y = total * torch.rsqrt(total.square().mean(-1, keepdim=True) + eps) * weight.double()
        expect_close(hbm.array("y"), y, f"{what}: y", cause, atol)

    expect_normed(
        torch.tensor([[1.0, 2.0]]),
        torch.tensor([[2.0, 2.0]]),
        torch.tensor([1.0, 10.0]),
        2,
        "x [1, 2], residual [2, 2], weight [1, 10]",
        "s = [3, 4]; the mean of its squares is 12.5, its root 3.54; y = s / 3.54 * weight",
        eps=0.0,
    )
    expect_normed(
        randn(3, 8, seed=1),
        randn(3, 8, seed=2),
        randn(8, seed=3),
        8,
        "3 tokens of 8, a row fits",
        "each token has a mean of its own",
        eps=0.0,
    )
    expect_normed(
        randn(3, 8, seed=1),
        randn(3, 8, seed=2),
        randn(8, seed=3),
        4,
        "3 tokens of 8, tiles of 4",
        "the mean is of the whole row, not of a tile; it is known only after the last tile",
        eps=0.0,
    )
    ### BEGIN HIDDEN TESTS
    # Looks at: an eps that counts; tiles that don't divide a row, of one value, larger than a row; one token, and one
    #   column; float16 with large and with small values; with both in a row; rows of very different size; a row of zeros.
    # Stated by: "is added to the mean of the squares, under the root" | "1 or more; it needn't divide hidden" |
    #   "holds "x" and "residual" [tokens, hidden]" | "Computes in float32" | "The arrays may be float16, and there 300² is infinite" | "for
    #   each token:" | "normalise it for the next product"
    # Right because: the sum of squares can be gathered tile by tile in one number, so that a row which doesn't fit
    #   costs one more pass, and nothing else.
    x, residual, weight = randn(4, 24, seed=4), randn(4, 24, seed=5), randn(24, seed=6)
    under = "eps is added to the mean, before the root is taken"
    expect_normed(x, residual, weight, 24, "eps 0.5, a row fits", under, eps=0.5)
    expect_normed(x, residual, weight, 5, "eps 0.5, tiles of 5", under, eps=0.5)
    ends = "the last tile may be smaller, and a tile may be larger than a row"
    for tile in (1, 5, 7, 8, 12, 23, 25, 100):
        expect_normed(x, residual, weight, tile, f"4 tokens of 24, tiles of {tile}", ends)
    expect_normed(x[:1], residual[:1], weight, 24, "one token")
    expect_normed(x[:, :1], residual[:, :1], weight[:1], 1, "one column", eps=0.5)
    scales = torch.tensor([[1e-3], [1.0], [1e3], [30.0]])
    expect_normed(
        x * scales, residual * scales, weight, 10, "tokens of very different size", atol=2e-3
    )
    nought = torch.zeros(2, 6)
    expect_normed(
        nought, nought, weight[:6], 6, "zeros", "the root of eps alone: 0 / 0.003 is 0"
    )
    wide = "in float16 a square above 65504 is infinite, and small ones vanish: .float() first"
    for tile in (24, 9):
        for unit, words in ((1.0, "some hundreds"), (2.0**-20, "some ten thousandths")):
            a, b = ((200 * part).round().mul(unit).half() for part in (x, residual))
            case = f"float16, values of {words}, tiles of {tile}"
            expect_normed(a, b, torch.ones(24).half(), tile, case, wide, eps=1e-12, atol=4e-3)
    # A column that makes the root small, and has no weight; what float16 keeps of the others' quotients has two digits.
    a = (torch.arange(1, 25) * 2.0**-14).half().repeat(2, 1)
    a[:, 0] = 300.0
    weight = torch.full((24,), 1024.0).half()
    weight[0] = 0.0
    once = "rounded once, when it is stored: in between all is float32"
    for tile in (24, 9):
        case = f"float16, small values beside one of 300, tiles of {tile}"
        expect_normed(a, torch.zeros_like(a), weight, tile, case, once, atol=1.5e-5)
    ### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "add-rms-norm-traffic-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
import torch

from fridge.testing import Hbm, exercise, expect_equal, expect_true, randn

with exercise("add-rms-norm-traffic"):

    def expect_norm_bytes(tokens, hidden, tile, dtype=torch.float32):
        """No value moves more often than the docstring says, and none is kept in vain."""
        x = randn(tokens, hidden, seed=1).to(dtype)
        arrays = {
            "x": x,
            "residual": x,
            "weight": x[0],
            "sum": x * torch.nan,
            "y": x * torch.nan,
        }
        size = x.element_size()
        hbm = Hbm(4 * tile * size, ("sum", "y"), **arrays)
        add_rms_norm(hbm, 1e-5, tile)
        what = f"{tokens} tokens of {hidden}, tiles of {tile}, {size} bytes a value"
        for name in ("sum", "y"):
            stored = sum(one.values for one in hbm.stores if one.name == name)
            expect_equal(
                stored,
                tokens * hidden,
                f"{what}: values of {name} stored",
                "each once, by hbm.store",
            )
        loads = {
            name: sum(one.values for one in hbm.loads if one.name == name)
            for name in ("x", "residual", "sum", "weight")
        }
        fits = hidden <= tile
        most = {
            "x": (
                tokens * hidden,
                "x and residual are read once; the second pass reads the sum",
            ),
            "residual": (
                tokens * hidden,
                "x and residual are read once; the second pass reads the sum",
            ),
            "sum": (
                0 if fits else tokens * hidden,
                "a row that fits is still at hand" if fits else "once a token",
            ),
            "weight": (
                hidden if fits else tokens * hidden,
                "it fits into SRAM and stays there for all tokens" if fits else "once a token",
            ),
        }
        for name, (limit, cause) in most.items():
            got = loads[name]
            expect_true(
                got <= limit, f"{what}: values of {name} loaded", f"at most {limit}", got, cause
            )
        # A last tile may still be at hand when the second pass begins, and no more.
        for name in () if fits else ("sum", "weight"):
            least = tokens * (hidden - tile) - (tile if name == "weight" else 0)
            cause = "tiles are kept which the processor has no room for"
            expect_true(
                loads[name] >= least,
                f"{what}: values of {name} loaded",
                f"at least {least}",
                loads[name],
                cause,
            )

    expect_norm_bytes(3, 8, 8)
    expect_norm_bytes(3, 8, 4)
    ### BEGIN HIDDEN TESTS
    # Looks at: tiles that don't divide a row; tiles of one value, and larger than a row; a row just too long; one
    #   token; float16.
    # Stated by: "it needn't divide hidden" | "values of each array that SRAM has room for, 1 or more" | "**A row that
    #   doesn't fit**" | "Nothing is read twice" | "float32 or float16, all alike"
    # Right because: what a kernel still holds it needn't read; what it has no room for it must.
    for sizes in (
        (4, 24, 5),
        (2, 9, 1),
        (5, 12, 64),
        (3, 13, 12),
        (3, 12, 12),
        (1, 40, 40),
        (1, 40, 8),
    ):
        expect_norm_bytes(*sizes)
    expect_norm_bytes(4, 16, 16, torch.float16)
    expect_norm_bytes(4, 16, 6, torch.float16)
    ### END HIDDEN TESTS

# %% [markdown]
# ### Exercise 3 · SwiGLU, counted, and as a kernel for a GPU (4 points)
#
# The MLP's middle: $y = \mathrm{silu}(\text{gate}) \cdot \text{up}$, with $\mathrm{silu}(g) = g / (1 + e^{-g})$. One product makes both
# halves (exercise 5), so they lie in one packed array: a row of it is a token's gate values, and behind them its up values. One by
# one, silu and multiply move five values for each result; in one pass it is three.
#
# First on the `Hbm`, as in exercise 2. Its SRAM has room for `tile` values of gate_up, and both halves are the same array: when you load the
# second one, the first is gone. What you have computed from it stays.
#
# <details><summary>Hint 1</summary>silu of the gate's tile first, then load up's tile, from column inner + first on. gate.float() of a float32
# block is the block itself, and will be NaN.</details>
# <details><summary>Hint 2</summary>A gate's tile must end where the gate ends: min(first + tile, inner).</details>


# %% nbgrader={"grade": false, "grade_id": "swiglu", "locked": false, "schema_version": 3, "solution": true, "task": false}
def swiglu(hbm, tile):
    """silu(gate) * up, for each token.

    Args:
        hbm: holds "gate_up" [tokens, 2 * inner], a row's first half the gate and its second
            half up, and "y" [tokens, inner] for the result; float32 or float16, both alike.
        tile: values of gate_up that SRAM has room for, 1 or more; it needn't divide inner.

    Computes in float32. Each value of gate_up is loaded once, each of y stored once. Gates may
    be in the tens of thousands, above 0 or below: exp(89) is infinite in float32. So may up:
    the digits of a tiny silu count, and 1 + tanh(gate / 2) has none left at -20.
    """
    ### BEGIN SOLUTION
    tokens, inner = hbm.shape("y")
    for token in range(tokens):
        for first in range(0, inner, tile):
            last = min(first + tile, inner)
            opened = F.silu(hbm.load("gate_up", first, last, row=token).float())
            up = hbm.load("gate_up", inner + first, inner + last, row=token).float()
            hbm.store("y", first, opened * up, row=token)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "swiglu-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
import torch

from fridge.testing import Hbm, exercise, expect_close, expect_equal, randn

with exercise("swiglu"):

    def expect_gated(gate, up, tile, what, cause="", atol=1e-5):
        """The values, and to the byte what moves."""
        both = torch.cat((gate, up), dim=1)
        nothing = torch.full_like(gate, torch.nan)
        hbm = Hbm(tile * gate.element_size(), ("y",), gate_up=both, y=nothing)
        swiglu(hbm, tile)
        wide = gate.double()
        expect_close(
            hbm.array("y"), wide * torch.sigmoid(wide) * up.double(), f"{what}: y", cause, atol
        )
        size = gate.element_size()
        why = "each value of gate and of up once, in one pass"
        expect_equal(hbm.bytes_loaded, 2 * gate.numel() * size, f"{what}: bytes loaded", why)
        expect_equal(hbm.bytes_stored, gate.numel() * size, f"{what}: bytes stored", "y once")

    expect_gated(
        torch.tensor([[0.0, 1.0, -1.0]]),
        torch.tensor([[5.0, 2.0, 3.0]]),
        3,
        "one token, gate [0, 1, -1], up [5, 2, 3]",
        "the first half is the gate, and silu is of the gate: 1 / (1 + e^-1) = 0.731, times 2",
    )
    expect_gated(
        randn(2, 6, seed=1),
        randn(2, 6, seed=2),
        4,
        "2 tokens of 6, tiles of 4",
        "a tile of gate ends where the gate ends",
    )
    ### BEGIN HIDDEN TESTS
    # Looks at: other tiles, of one value and larger than a half; one column; many tokens; gates of ten thousands;
    #   float16, also with gates whose silu is tiny.
    # Stated by: "1 or more; it needn't divide inner" | "holds "gate_up" [tokens, 2 * inner]" | "silu(gate) * up, for
    #   each token" | "Gates may be in the tens of thousands, above 0 or below" | "Computes in float32"
    # Right because: y needs the two values of its own place and no other, so that one visit suffices.
    gate, up = randn(5, 13, seed=3) * 3, randn(5, 13, seed=4)
    for tile in (1, 2, 5, 12, 13, 14, 64):
        expect_gated(
            gate,
            up,
            tile,
            f"5 tokens of 13, tiles of {tile}",
            "the last tile may be smaller, or the only one",
        )
    expect_gated(gate[:, :1], up[:, :1], 1, "one column")
    far = torch.tensor([[2e4, -2e4, 100.0, -100.0, 89.5, -89.5]])
    over = (
        "exp of a large number is infinite, and inf / inf is NaN: torch.sigmoid and F.silu know"
    )
    expect_gated(
        far,
        torch.full((1, 6), 0.5),
        4,
        "gates of 20000, 100 and 89.5, above 0 and below",
        over,
        2e-3,
    )
    exact = (gate * 8).round().half() / 4, (up * 8).round().half() / 4
    expect_gated(
        *exact, 5, "float16", "computed in float32, and rounded once, when it is stored", 8e-3
    )
    small = torch.tensor([[-14.0, -14.5, -15.0, -15.5, -16.0, -17.0]]).half()
    once = "silu of -15 has one digit in float16: what it is multiplied by comes before the rounding"
    expect_gated(
        small, torch.full((1, 6), 3e4).half(), 4, "float16, gates of -14 to -17", once, 2e-4
    )
    ### END HIDDEN TESTS

# %% [markdown]
# And now in Triton, as in unit 06: a program works on one token (`program_id(0)`) and `BLOCK` columns (`program_id(1)`). Pointers, offsets and
# masks are as there. Where there is no GPU, Triton's interpreter runs it; where Triton isn't installed, the tests skip
# this part, and it costs you nothing.
#
# `tl.load(…).to(tl.float32)` makes float32 of a block, `tl.sigmoid` and `tl.exp` do what they say.
#
# <details><summary>Hint 1</summary>columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK), and the mask is columns &lt; inner.</details>
# <details><summary>Hint 2</summary>A row of gate_up has 2 * inner values: token * 2 * inner + columns for the gate, and inner more for
# up.</details>


# %% nbgrader={"grade": false, "grade_id": "swiglu-triton", "locked": false, "schema_version": 3, "solution": true, "task": false}
@triton.jit
def swiglu_kernel(gate_up, y, inner, BLOCK: tl.constexpr):
    """One program: BLOCK columns (program_id 1) of one token (program_id 0).

    Args:
        gate_up: pointer to [tokens, 2 * inner]; y: to [tokens, inner].
        inner: columns of y; BLOCK needn't divide it.
    """
    ### BEGIN SOLUTION
    token = tl.program_id(0)
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = columns < inner
    row = gate_up + token * 2 * inner
    gate = tl.load(row + columns, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(row + inner + columns, mask=inside, other=0.0).to(tl.float32)
    tl.store(y + token * inner + columns, gate * tl.sigmoid(gate) * up, mask=inside)
    ### END SOLUTION


def triton_swiglu(gate_up, block=64):
    """silu(gate) * up in one launch of the kernel, which computes everything, as swiglu does.

    Args:
        gate_up: [tokens, 2 * inner], float32 or float16, with values as swiglu's.
        block: columns for a program, a power of two.

    Returns:
        [tokens, inner], in gate_up's dtype.
    """
    gate_up = gate_up.to(DEVICE).contiguous()
    ### BEGIN SOLUTION
    tokens, inner = len(gate_up), gate_up.shape[1] // 2
    y = torch.empty(tokens, inner, dtype=gate_up.dtype, device=gate_up.device)
    swiglu_kernel[(tokens, triton.cdiv(inner, block))](gate_up, y, inner, BLOCK=block)
    return y
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "swiglu-triton-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
import warnings

import torch

from fridge.testing import (
    exercise,
    expect_close,
    expect_equal,
    expect_tensor,
    measured,
    needs,
    randn,
)

with exercise("swiglu-triton"):
    needs("triton")

    def expect_launched(gate, up, what, cause="", atol=1e-5, turned=False, **block):
        both = torch.cat((gate, up), dim=1)
        if turned:
            both = both.T.contiguous().T
        with warnings.catch_warnings():  # Triton's interpreter tells of an exp that is infinite
            warnings.simplefilter("ignore", RuntimeWarning)
            got, work = measured(triton_swiglu, both, **block)
        got = expect_tensor(got, f"{what}: y", gate.shape, gate.dtype)
        wide = gate.double()
        expect_close(got, wide * torch.sigmoid(wide) * up.double(), f"{what}: y", cause, atol)
        expect_equal(
            work.launches,
            1,
            f"{what}: launches",
            "one launch, with a program for each token and block",
        )

    expect_launched(
        randn(1, 16, seed=1),
        randn(1, 16, seed=2),
        "one token of 16",
        "silu(gate) * up",
        block=16,
    )
    expect_launched(
        randn(3, 40, seed=1),
        randn(3, 40, seed=2),
        "3 tokens of 40",
        "a row of gate_up has 2 * inner values",
        block=16,
    )
    ### BEGIN HIDDEN TESTS
    # Looks at: columns that the block doesn't divide, fewer than a block; one column; many tokens; gates of ten
    #   thousands; float16, also with gates whose silu is tiny; launches; many blocks; a gate_up that lies in memory
    #   column by column.
    # Stated by: "BLOCK needn't divide it" | "columns for a program, a power of two" | "[tokens, inner], in
    #   gate_up's dtype" | "Gates may be in the tens of thousands" | "float32 or float16" | "in one launch
    #   of the kernel, which computes everything, as swiglu does" | "a program works on one token (`program_id(0)`) and
    #   `BLOCK` columns" | "gate_up.to(DEVICE).contiguous()"
    # Right because: each program owns the values of y that it writes, so that they may run in any order or at once.
    for inner, block in ((5, 16), (17, 16), (33, 32), (64, 64), (1, 16), (100, 64)):
        case = f"4 tokens of {inner}, blocks of {block}"
        expect_launched(
            randn(4, inner, seed=3),
            randn(4, inner, seed=4),
            case,
            "the last block is masked",
            block=block,
        )
    far = torch.tensor([[2e4, -2e4, 100.0, -100.0]])
    over = "exp of a large number is infinite, and inf / inf is NaN"
    expect_launched(
        far, torch.full((1, 4), 0.5), "gates of 20000 and 100, above 0 and below", over, 2e-3
    )
    a, b = ((randn(3, 20, seed=seed) * 8).round().half() / 4 for seed in (5, 6))
    expect_launched(a, b, "float16", "computed in float32, and rounded once", 8e-3, block=16)
    expect_launched(
        randn(2, 300, seed=5),
        randn(2, 300, seed=6),
        "2 tokens of 300, blocks of 16",
        "a program for each block of columns, however many",
        block=16,
    )
    small = torch.tensor([[-14.0, -14.5, -15.0, -15.5, -16.0, -17.0]]).half()
    once = "silu of -15 has one digit in float16: what it is multiplied by comes before the rounding"
    case = "float16, gates of -14 to -17"
    expect_launched(small, torch.full((1, 6), 3e4).half(), case, once, 2e-4)
    rows = "the kernel's offsets are of rows: .contiguous() first"
    expect_launched(a, b, "gate_up column by column in memory", rows, 8e-3, True, block=16)
    ### END HIDDEN TESTS

# %% [markdown]
# ### Exercise 4 · RoPE over packed Q, K and V (3 points)
#
# One product makes Q, K and V of a token, in one row: all heads of Q, then those of K, then those of V. RoPE (unit 03) turns the pairs $(i, i
# + \text{head\_dim}/2)$ of each head of Q and K by the angle position × inv_freq[i]:
#
# $$a' = a\cos - b\sin \qquad b' = b\cos + a\sin$$
#
# One by one that cuts Q, K and V apart, and makes tables of cosines and sines, negated halves, two products, a sum, twice. In one kernel it turns Q and K **where they
# lie**, and V isn't touched at all: neither read nor written.
#
# Each token has its own position, for a batch holds tokens of many sequences. Angles are in float32, whatever qkv is: float16 knows no
# number between 4096 and 4100.
#
# <details><summary>Hint 1</summary>head_dim is twice the length of inv_freq. Head h begins at column h * head_dim, and heads + kv_heads of
# them are to be turned.</details>
# <details><summary>Hint 2</summary>first, second = block.chunk(2); torch.cat of the two new halves is what is stored.</details>


# %% nbgrader={"grade": false, "grade_id": "rope-qk", "locked": false, "schema_version": 3, "solution": true, "task": false}
def rope_qk(hbm, heads, kv_heads):
    """Turn the heads of Q and K in place.

    Args:
        hbm: holds "qkv" [tokens, (heads + 2 * kv_heads) * head_dim], float32 or float16;
            "positions" [tokens], whole numbers in int32; "inv_freq" [head_dim / 2], float32.
            SRAM has room for one head of one token, beside all positions and inv_freq.
        heads, kv_heads: of Q; of K, and as many of V.

    Computes in float32. Each value of Q and K is loaded once and stored once, each position
    and each frequency loaded once. V neither.
    """
    ### BEGIN SOLUTION
    inv_freq = hbm.load("inv_freq")
    head_dim = 2 * len(inv_freq)
    for token in range(hbm.shape("qkv")[0]):
        angles = hbm.load("positions", token, token + 1).float() * inv_freq
        cos, sin = angles.cos(), angles.sin()
        for start in range(0, (heads + kv_heads) * head_dim, head_dim):
            a, b = hbm.load("qkv", start, start + head_dim, row=token).float().chunk(2)
            hbm.store(
                "qkv", start, torch.cat((a * cos - b * sin, b * cos + a * sin)), row=token
            )
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "rope-qk-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
import torch

from fridge.testing import Hbm, exercise, expect_close, expect_equal, expect_true, randn

with exercise("rope-qk"):

    def expect_turned(
        tokens,
        heads,
        kv_heads,
        head_dim,
        positions,
        what,
        cause="",
        dtype=torch.float32,
        atol=1e-5,
        value=None,
        base=100.0,
    ):
        """Q and K turned, V as it was, and to the byte what moved."""
        qkv = (randn(tokens, (heads + 2 * kv_heads) * head_dim, seed=1) * 8).round().to(
            dtype
        ) / 8
        if value is not None:
            qkv = torch.full_like(qkv, value)
        inv_freq = 1.0 / base ** (torch.arange(0, head_dim, 2) / head_dim)
        places = torch.tensor(positions, dtype=torch.int32)
        sram = head_dim * qkv.element_size() + 4 * (tokens + head_dim // 2)
        hbm = Hbm(sram, ("qkv",), qkv=qkv, positions=places, inv_freq=inv_freq)
        rope_qk(hbm, heads, kv_heads)
        angles = (places[:, None].float() * inv_freq).double()[:, None]
        parts = qkv.double().unflatten(1, (-1, head_dim))
        a, b = parts.chunk(2, dim=-1)
        right = torch.cat(
            (a * angles.cos() - b * angles.sin(), b * angles.cos() + a * angles.sin()), dim=-1
        )
        got = hbm.array("qkv").unflatten(1, (-1, head_dim))
        expect_close(got[:, :heads], right[:, :heads], f"{what}: Q", cause, atol)
        why = "K's heads lie behind Q's, and are turned, too"
        expect_close(
            got[:, heads:-kv_heads], right[:, heads:-kv_heads], f"{what}: K", why, atol
        )
        expect_close(
            got[:, -kv_heads:], parts[:, -kv_heads:], f"{what}: V", "V stays as it is", atol
        )
        of_q_and_k = tokens * (heads + kv_heads) * head_dim * qkv.element_size()
        loaded = of_q_and_k + 4 * tokens + 4 * (head_dim // 2)
        once = "Q, K, positions and frequencies once; V not at all"
        expect_equal(hbm.bytes_loaded, loaded, f"{what}: bytes loaded", once)
        expect_equal(
            hbm.bytes_stored, of_q_and_k, f"{what}: bytes stored", "Q and K once; V not at all"
        )
        touched = [one.columns for one in (*hbm.loads, *hbm.stores) if one.name == "qkv"]
        furthest = max((qkv.shape[1] if one is None else one[1] for one in touched), default=0)
        most = (heads + kv_heads) * head_dim
        expect_true(
            furthest <= most,
            f"{what}: columns of qkv that were touched",
            f"up to {most}",
            furthest,
            once,
        )

    expect_turned(
        1,
        1,
        1,
        2,
        [1],
        "one token at position 1, one head of 2",
        "the pair (a, b) becomes (a cos - b sin, b cos + a sin)",
    )
    expect_turned(
        1,
        1,
        1,
        4,
        [1],
        "one token at position 1, one head of 4",
        "partners are half a head apart: i and i + 2",
    )
    expect_turned(
        3,
        2,
        1,
        4,
        [0, 1, 2],
        "3 tokens, 2 heads on 1",
        "each head has the same angles, each token its own",
    )
    ### BEGIN HIDDEN TESTS
    # Looks at: positions in no order, and equal ones; large positions; one token far behind; as many KV heads as heads, and
    #   several on one; heads of 2 and of 64; float16 at large positions, and where terms
    #   cancel; other frequencies.
    # Stated by: "Each token has its own position, for a batch holds tokens of many sequences" | "Angles are in float32, whatever
    #   qkv is" | "whole numbers in int32" | "heads, kv_heads: of Q; of K, and as many of V" | ""inv_freq"
    #   [head_dim / 2], float32" | "float16 knows no number between 4096 and 4100" | "Computes in float32"
    # Right because: turning a pair needs the pair and one angle, so that each head can be turned where it lies, in one visit.
    own = "each token's own position, wherever it stands in the batch"
    expect_turned(5, 2, 1, 8, [7, 0, 300, 7, 2], "positions 7, 0, 300, 7, 2", own)
    expect_turned(1, 2, 2, 8, [40], "one token at position 40", own)
    expect_turned(2, 3, 3, 4, [5, 6], "3 heads on 3")
    expect_turned(2, 6, 2, 4, [5, 6], "6 heads on 2")
    expect_turned(2, 2, 1, 2, [5, 6], "heads of 2")
    expect_turned(2, 2, 1, 64, [1000, 3], "heads of 64", atol=2e-4)
    expect_turned(
        2, 2, 1, 8, [8191, 4099], "positions 8191 and 4099", "angles in float32", atol=2e-3
    )
    half = "positions and angles in float32: float16 makes 4100 of 4099"
    expect_turned(
        3,
        2,
        1,
        8,
        [4099, 1, 8191],
        "float16, positions 4099, 1, 8191",
        half,
        torch.float16,
        8e-3,
    )
    far = "positions are int32: 16 bits end at 32767"
    expect_turned(2, 2, 1, 8, [40_000, 70_001], "positions 40000 and 70001", far, atol=2e-2)
    expect_turned(2, 2, 1, 8, [3, 5], "other frequencies", "those of inv_freq", base=7.0)
    once = "a' = a cos - b sin nearly cancels: float32 until it is stored"
    case = "float16, values of 1000 at position 139"
    expect_turned(1, 1, 1, 2, [139], case, once, torch.float16, 0.08, value=1000.0)
    ### END HIDDEN TESTS

# %% [markdown]
# ### Exercise 5 · Seven products are four (5 points)
#
# A fusion of another kind: not what a kernel does, but what the weights are. Three products read the same normalised x, and two
# more read another: laid one below the other, their weights make one product each. And the norm's own weight $w$, which multiplies each
# column of its result, can move into the matrix behind it, once and for all:
#
# $$(\hat x \circ w)\,W^\top = \hat x\,(W \cdot \mathrm{diag}(w))^\top$$
#
# So seven products become four: qkv, o, gate_up, down. The norm has no weight any more, and the calls are fewer. A product of the same total size takes
# the same arithmetic; but on a GPU one large launch keeps more of the card busy than three small ones.
#
# **3 points** for `merge`, which makes the four products' weights. Biases, where there are some (Qwen2 has them on q, k and v), aren't
# touched by the norm; a part without one gets zeros if a part beside it has one. **2 points** for `merged_layer`, which runs the layer with them.
#
# <details><summary>Hint 1</summary>weight * norm scales the columns of a [out, in] matrix, for norm has the length in.</details>
# <details><summary>Hint 2</summary>o reads what attention made, and down what SwiGLU made. No norm stands before them.</details>
# <details><summary>Hint 3</summary>With grouped heads, q has more rows than k: torch.split(qkv, sizes, dim=-1).</details>


# %% nbgrader={"grade": false, "grade_id": "merge", "locked": false, "schema_version": 3, "solution": true, "task": false}
def merge(layer):
    """The four products of a layer that has seven.

    Args:
        layer: a dict of tensors. "input_norm", "post_norm": [hidden], the norms' weights
            before attention and before the MLP. "q", "k", "v", "o", "gate", "up", "down":
            [out, in].
            "q_bias", "k_bias", "v_bias", "o_bias": [out], or None each.

    Returns:
        A dict of pairs (weight, bias), bias None where no part has one. "qkv": q above k above
        v, with the norm in it; "o"; "gate_up": gate above up, with the norm in it; "down".
        Weights are in their own dtype; each was multiplied in float32 before it was rounded.
    """
    ### BEGIN SOLUTION

    def folded(names, norm):
        whole = torch.cat([layer[name] for name in names])
        return (whole.float() * norm.float()).to(whole.dtype)

    biases = [layer[f"{name}_bias"] for name in "qkv"]
    if all(bias is None for bias in biases):
        bias = None
    else:
        filled = [
            torch.zeros_like(layer[name][:, 0]) if bias is None else bias
            for name, bias in zip("qkv", biases)
        ]
        bias = torch.cat(filled)
    return {
        "qkv": (folded("qkv", layer["input_norm"]), bias),
        "o": (layer["o"], layer["o_bias"]),
        "gate_up": (folded(("gate", "up"), layer["post_norm"]), None),
        "down": (layer["down"], None),
    }
    ### END SOLUTION


def merged_layer(x, merged, sizes, eps, linear, attend):
    """The layer, with four products.

    Args:
        x: [tokens, hidden].
        merged: as merge returns it.
        sizes: how many columns q, k and v have.
        eps: of both norms, whose weights are in the products.
        linear: linear(x, weight, bias) is x @ weight.T + bias, for x [tokens, in] and a pair
            of merged's, all float32; call it four times.
        attend: attend(q, k, v) turns q and k and mixes the values: [tokens, columns] each, and
            [tokens, columns of q] comes back.

    Returns:
        [tokens, hidden]: x + o(attention), and to that + down(silu(gate) * up). Each
        normalised before it goes into its products: x / sqrt(mean of x² + eps).
    """
    ### BEGIN SOLUTION

    def normalised(x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)

    q, k, v = linear(normalised(x), *merged["qkv"]).split(tuple(sizes), dim=-1)
    x = x + linear(attend(q, k, v), *merged["o"])
    gate, up = linear(normalised(x), *merged["gate_up"]).chunk(2, dim=-1)
    return x + linear(F.silu(gate) * up, *merged["down"])
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "merge-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
import torch

from fridge.testing import (
    exercise,
    expect_close,
    expect_equal,
    expect_named,
    expect_parts,
    expect_tensor,
    randn,
)

with exercise("merge"):

    def layer_of(q=4, k=4, hidden=6, inner=5, biases="", dtype=torch.float32):
        """Random weights; biases for the products that are named."""
        rows = {"q": q, "k": k, "v": k, "o": hidden, "gate": inner, "up": inner, "down": hidden}
        columns = {"o": q, "down": inner}
        made = {
            name: randn(count, columns.get(name, hidden), seed=seed).to(dtype)
            for seed, (name, count) in enumerate(rows.items())
        }
        for seed, name in enumerate("qkvo"):
            made[f"{name}_bias"] = (
                randn(rows[name], seed=20 + seed).to(dtype) if name in biases else None
            )
        for seed, name in enumerate(("input_norm", "post_norm")):
            made[name] = (1.5 + randn(hidden, seed=30 + seed)).to(dtype)
        return made

    def expect_merges(layer, what, cause="", atol=1e-5):
        """All four weights and biases, against the parts."""
        got = expect_named(
            merge(dict(layer)), ("qkv", "o", "gate_up", "down"), f"{what}: what merge returns"
        )
        whys = {
            "qkv": "q above k above v, their columns multiplied by input_norm",
            "o": "o reads what attention made: no norm stands before it",
            "gate_up": "gate above up, their columns multiplied by post_norm",
            "down": "down reads what SwiGLU made: no norm stands before it",
        }
        norms = {"qkv": "input_norm", "gate_up": "post_norm"}
        for name, parts in {
            "qkv": "q k v",
            "o": "o",
            "gate_up": "gate up",
            "down": "down",
        }.items():
            weight, bias = expect_parts(got[name], "weight, bias", f"{what}: {name}")
            whole = torch.cat([layer[part] for part in parts.split()])
            dtype = whole.dtype
            if name in norms:
                whole = (whole.float() * layer[norms[name]].float()).to(dtype)
            weight = expect_tensor(
                weight, f"{what}: the weight of {name}", whole.shape, dtype, cause or whys[name]
            )
            expect_close(
                weight, whole, f"{what}: the weight of {name}", cause or whys[name], atol
            )
            biases = [layer.get(f"{part}_bias") for part in parts.split()]
            if all(one is None for one in biases):
                expect_equal(bias, None, f"{what}: the bias of {name}", "no part has one")
                continue
            filled = [
                torch.zeros(len(layer[part])) if one is None else one
                for part, one in zip(parts.split(), biases, strict=True)
            ]
            why = (
                "biases are added behind the product: the norm doesn't touch them; no bias is 0"
            )
            expect_close(bias, torch.cat(filled).float(), f"{what}: the bias of {name}", why)

    expect_merges(layer_of(), "hidden 6, no biases")
    expect_merges(layer_of(q=6, k=2), "q of 6 rows, k and v of 2")
    ### BEGIN HIDDEN TESTS
    # Looks at: biases on q, k and v; on one of them alone; on o; other sizes; a norm with negative and zero weights; float16 and
    #   bfloat16.
    # Stated by: "Qwen2 has them on q, k and v" | "a part without one gets zeros if a part beside it has one" | ""q_bias",
    #   "k_bias", "v_bias", "o_bias": [out], or None each" | ""q", "k", "v", "o", "gate", "up", "down": [out, in]" | "[hidden], the norms' weights
    #   before attention and before the MLP" | "each was multiplied in float32 before it was rounded"
    # Right because: a product is linear in each column of its matrix, so that a factor on an input is a factor on a column.
    for biases in ("qkv", "q", "v", "kv", "o", "qkvo"):
        expect_merges(layer_of(q=6, k=2, biases=biases), f"biases on {', '.join(biases)}")
    expect_merges(
        layer_of(q=8, k=4, hidden=3, inner=9), "hidden 3, inner 9, q of 8 rows, k of 4"
    )
    strange = layer_of() | {"input_norm": torch.tensor([0.0, -1.0, 2.0, 0.5, -3.0, 0.0])}
    expect_merges(strange, "a norm with zeros and negative weights")
    for dtype in (torch.float16, torch.bfloat16):
        expect_merges(layer_of(q=6, k=2, dtype=dtype, biases="k"), f"{dtype}")
    ### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "merged-layer-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
import torch
import torch.nn.functional as F

from fridge.testing import (
    as_tensor,
    exercise,
    expect_close,
    expect_equal,
    expect_tensor,
    expect_true,
    randn,
)

with exercise("merged-layer"):

    def expect_layer(
        tokens,
        q,
        k,
        hidden,
        inner,
        what,
        cause="",
        eps=1e-5,
        biases=False,
        scale=1.0,
        atol=2e-5,
    ):
        """Its result, and which products it asks for in which order."""
        shapes = {
            "qkv": (q + 2 * k, hidden),
            "o": (hidden, q),
            "gate_up": (2 * inner, hidden),
            "down": (hidden, inner),
        }
        merged = {
            name: (
                randn(*shape, seed=seed) / shape[1] ** 0.5,
                randn(shape[0], seed=9) if biases and seed < 2 else None,
            )
            for seed, (name, shape) in enumerate(shapes.items())
        }
        names = {shape: name for name, shape in shapes.items()}
        asked, seen = [], []

        def product(x, weight, bias):
            out = x @ weight.T
            return out if bias is None else out + bias

        def linear(x, weight, bias=None):
            kind = torch.float32
            weight = expect_tensor(weight, f"{what}: weight of a linear", dtype=kind)
            name = names.get(tuple(weight.shape))
            expect_true(
                name is not None,
                f"{what}: shape of weight of a linear",
                f"one of {[list(shape) for shape in shapes.values()]}",
                list(weight.shape),
                "merged holds pairs of a weight [out, in] and a bias",
            )
            rows, columns = shapes[name]
            x = expect_tensor(x, f"{what}: x of linear {name!r}", (tokens, columns), kind)
            if bias is not None:
                bias = expect_tensor(bias, f"{what}: bias of linear {name!r}", (rows,), kind)
            asked.append(name)
            if len(asked) > 8:
                expect_equal(
                    asked, list(shapes), f"{what}: the products in order", "four products"
                )
            return product(x, weight, bias)

        def mix(q, k, v):
            weights = torch.softmax(q[:, : k.shape[1]] @ k.T, dim=-1) @ v
            return torch.cat((q[:, : q.shape[1] - v.shape[1]] * 0.5, weights), dim=1)

        def attend(q_got, k_got, v_got):
            parts = [
                expect_tensor(part, f"{what}: {name} for attend", dtype=torch.float32)
                for part, name in zip((q_got, k_got, v_got), "qkv", strict=True)
            ]
            seen.append([list(part.shape) for part in parts])
            why = "q, k and v have columns of their own number, as sizes says"
            expect_equal(
                seen[-1],
                [[tokens, q], [tokens, k], [tokens, k]],
                f"{what}: shapes of q, k, v for attend",
                why,
            )
            return mix(*parts)

        x = randn(tokens, hidden, seed=5) * scale
        got = merged_layer(x.clone(), dict(merged), (q, k, k), eps, linear, attend)

        def norm(x):
            return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)

        wide = {
            name: tuple(part if part is None else part.double() for part in pair)
            for name, pair in merged.items()
        }
        middle = x.double()
        middle = middle + product(
            mix(*product(norm(middle), *wide["qkv"]).split((q, k, k), -1)), *wide["o"]
        )
        gate, up = product(norm(middle), *wide["gate_up"]).chunk(2, -1)
        expect_close(
            as_tensor(got),
            middle + product(F.silu(gate) * up, *wide["down"]),
            what,
            cause,
            atol,
        )
        expect_equal(
            asked, list(shapes), f"{what}: the products in order", "four products, each once"
        )

    expect_layer(
        3,
        4,
        4,
        6,
        7,
        "3 tokens, q, k and v of 4",
        "x + o(…), then that + down(silu(gate) * up), a norm before qkv and gate_up",
    )
    expect_layer(
        3, 6, 2, 6, 7, "3 tokens, q of 6, k and v of 2", "sizes says where q, k and v begin"
    )
    ### BEGIN HIDDEN TESTS
    # Looks at: an eps that counts; biases; one token; small and large x; other sizes.
    # Stated by: "x / sqrt(mean of x² + eps)" | "linear(x, weight, bias) is x @ weight.T + bias" | "x: [tokens,
    #   hidden]" | "Each normalised before it goes into its products" | "how many columns q, k and v have"
    # Right because: the four products have the same numbers to multiply as the seven had, in another order of writing.
    expect_layer(2, 4, 2, 6, 7, "eps 0.5", "eps is added to the mean, under the root", eps=0.5)
    expect_layer(
        2, 4, 2, 6, 7, "biases on qkv and o", "a pair's bias goes to linear, too", biases=True
    )
    expect_layer(1, 4, 2, 6, 7, "one token")
    expect_layer(
        2, 4, 2, 6, 7, "small x", "the residual is x itself, not the normalised x", scale=0.01
    )
    expect_layer(
        2,
        4,
        2,
        6,
        5,
        "large x",
        "the residual is x itself, not the normalised x",
        scale=100.0,
        atol=2e-3,
    )
    expect_layer(2, 8, 4, 3, 9, "hidden 3, inner 9, q of 8, k and v of 4")
    ### END HIDDEN TESTS

# %% [markdown]
# ### Exercise 6 · Dequantize inside the product (4 points)
#
# Here fusing saves bytes at batch 1, too. Unit 02's weights have 4 bits. Whoever makes float32 of them *before* the product writes eight times as
# much to memory as there was, and reads it again. A fused product reads the codes, makes floats of a few rows at a time where nobody but the
# processor sees them, multiplies, and forgets them.
#
# The weights lie as unit 02 packed them: byte $i$ of a row holds the codes of columns $2i$, in its high four bits, and $2i + 1$, in its low ones. Each `group` columns of
# a row share a scale and a minimum: weight = code × scale + minimum.
#
# $y = xW^\top$, some rows of $W$ at a time: a **tile** of them, all columns. SRAM has room for x, and for `tile` rows each of codes, scale and minimum.
# Never more than a tile is in float at once.
#
# <details><summary>Hint 1</summary>packed &gt;&gt; 4 and packed &amp; 15 are the codes; torch.stack((high, low), dim=-1).flatten(1) puts them
# side by side.</details>
# <details><summary>Hint 2</summary>scale.repeat_interleave(group, dim=1) has a scale for each column, and maybe some too many.</details>
# <details><summary>Hint 3</summary>Rows of W are columns of y: hbm.store("y", first, part, row=b) for each row b of x.</details>


# %% nbgrader={"grade": false, "grade_id": "dequant-matmul", "locked": false, "schema_version": 3, "solution": true, "task": false}
def dequant_matmul(hbm, group, tile):
    """x @ W.T with 4-bit weights, of which never more than a tile is in float.

    Args:
        hbm: holds "x" [batch, columns] in float32; "codes" [rows, columns / 2] in uint8, two
            in a byte; "scale" and "minimum" [rows, groups] in float16; "y" [batch, rows] in
            float32 for the result.
        group: columns that share a scale and a minimum; the last group may be shorter.
        tile: rows of W at once, 1 or more; the last tile, or the only one, may be smaller.

    Computes in float32. Each array is loaded once, y stored once. No array in float that you
    make has more values than a tile of W, or than x or y where these have more; columns of a
    last, shorter group that are cut off don't count.
    """
    ### BEGIN SOLUTION
    x = hbm.load("x")
    batch, columns = hbm.shape("x")
    for first in range(0, hbm.shape("codes")[0], tile):
        packed = hbm.load("codes", first, first + tile)
        codes = torch.stack((packed >> 4, packed & 15), dim=-1).flatten(1)
        scale = hbm.load("scale", first, first + tile).float()
        minimum = hbm.load("minimum", first, first + tile).float()
        scale, minimum = (
            part.repeat_interleave(group, dim=1)[:, :columns] for part in (scale, minimum)
        )
        part = x @ (codes * scale + minimum).T
        for row in range(batch):
            hbm.store("y", first, part[row], row=row)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "dequant-matmul-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
import torch

from fridge.testing import (
    Hbm,
    exercise,
    expect_close,
    expect_equal,
    expect_true,
    measured,
    randn,
)

with exercise("dequant-matmul"):

    def memory_of(batch, rows, columns, group, tile):
        """Random codes with their scales, and the weights that they stand for."""
        numbers = torch.Generator().manual_seed(rows + columns)
        codes = torch.randint(0, 16, (rows, columns), generator=numbers, dtype=torch.uint8)
        groups = -(-columns // group)
        scale = (0.1 + randn(rows, groups, seed=1).abs()).half()
        minimum = (randn(rows, groups, seed=2) - 5).half()
        of_column = torch.arange(columns) // group
        weight = codes.double() * scale.double()[:, of_column] + minimum.double()[:, of_column]
        x = randn(batch, columns, seed=3)
        arrays = {
            "x": x,
            "codes": codes[:, ::2] << 4 | codes[:, 1::2],
            "scale": scale,
            "minimum": minimum,
        }
        sram = 4 * x.numel() + tile * (columns // 2 + 2 * 2 * groups)
        hbm = Hbm(sram, ("y",), **arrays, y=torch.full((batch, rows), torch.nan))
        loaded = 4 * x.numel() + rows * (columns // 2 + 2 * 2 * groups)
        return hbm, x.double() @ weight.T, loaded

    def expect_product(batch, rows, columns, group, tile, what, cause=""):
        """The product, and to the byte what moves."""
        hbm, right, loaded = memory_of(batch, rows, columns, group, tile)
        dequant_matmul(hbm, group, tile)
        expect_close(hbm.array("y"), right, f"{what}: y", cause, 1e-5 * columns)
        once = "x once for all tiles; codes, scale and minimum once for all rows of x"
        expect_equal(hbm.bytes_loaded, loaded, f"{what}: bytes loaded", once)
        expect_equal(
            hbm.bytes_stored, 4 * batch * rows, f"{what}: bytes stored", "each value of y once"
        )

    order = "columns 2i in the high four bits, 2i + 1 in the low ones; code * scale + minimum"
    expect_product(1, 1, 4, 4, 1, "one row of 4 columns, one group", order)
    expect_product(
        1,
        2,
        8,
        4,
        2,
        "2 rows of 8 columns, groups of 4",
        "columns 0 to 3 have the first scale, 4 to 7 the second",
    )
    expect_product(
        2,
        4,
        8,
        4,
        2,
        "2 rows of x, 4 rows of W in tiles of 2",
        "each tile makes its own columns of y",
    )
    ### BEGIN HIDDEN TESTS
    # Looks at: tiles that don't divide the rows, of one row, larger than all; a last group that is shorter; groups of
    #   2, and one for all; seven rows of x; how much is in float at once, with one row of x and with several.
    # Stated by: "the last tile, or the only one, may be smaller" | "the last group may be shorter" | "Each `group`
    #   columns of a row share a scale and a minimum" | "holds "x" [batch, columns] in float32" | "No array in
    #   float that you make has more values than a tile of W, or than x or y where these have more"
    # Right because: a row of W is needed for one column of y and never again, so that nothing of it has to be kept.
    ends = "the last tile may be smaller, or the only one"
    for tile in (1, 3, 4, 5, 9, 10, 11, 64):
        expect_product(3, 10, 12, 4, tile, f"10 rows of W in tiles of {tile}", ends)
    expect_product(2, 5, 10, 4, 2, "10 columns in groups of 4", "the last group has 2 columns")
    expect_product(
        2, 5, 18, 16, 2, "18 columns in groups of 16", "the last group has 2 columns"
    )
    expect_product(2, 5, 12, 2, 2, "groups of 2")
    expect_product(2, 5, 12, 12, 2, "one group for all columns")
    expect_product(2, 5, 12, 64, 2, "a group larger than all columns")
    expect_product(7, 6, 8, 4, 4, "7 rows of x", "each row of x has a row of y")
    expect_product(1, 6, 8, 4, 4, "1 row of x")
    for batch, group in ((1, 32), (3, 32), (1, 2)):
        hbm, _, _ = memory_of(batch, 64, 64, group, 4)
        _, work = measured(dequant_matmul, hbm, group, 4)
        case = f"{batch} rows of x, 64 rows of W, 64 columns in groups of {group}, tiles of 4"
        expect_true(
            work.largest <= 8 * 4 * 64,
            f"bytes of the largest array in float, {case}",
            "at most 2048, a tile in float64",
            work.largest,
            "all of W is made float, a tile once for each row of x, or a value for each code that there might be",
        )
    ### END HIDDEN TESTS

# %% [markdown]
# ### Exercise 7 · A fuser (7 points)
#
# So far you have decided what to fuse. A compiler, such as the one behind `torch.compile`, gets a list of operations and decides by itself. Yours does
# too, in about twenty lines.
#
# The list is that of exercise 1, in an order in which it can run. Kinds:
#
# | kind | works | may be in one kernel with others? |
# |---|---|---|
# | `"pointwise"` | row by row | yes |
# | `"row"` | row by row, over a row's columns | yes |
# | `"across"` | over all rows: each value needs every row | yes, but **not with an operation that reads it**: it is complete only when the kernel has ended |
# | `"product"` | a library's kernel | no: alone |
#
# You return kernels in an order in which they can run, each with what it reads and writes. A kernel runs from beginning to end: it can't stop in the
# middle to wait for another one. There lies the trap. In $y = x + f(x)W$ the operation $f$ and the addition both work row by row. In one kernel
# they would wait for a product that waits for them: a **cycle**.

# %% tags=["for-real"]
pictures.the_cycle_of_greed()

# %% [markdown]
# *In words: three boxes, f, product and add. x goes to f and to add; f's result to the product, the product's to add. A dashed line around f and
# add shows the forbidden kernel: one arrow leaves it, to the product, and one comes back.*
#
# **3 points** are for kernels that can run and compute everything. **4 points** for as few kernels as can be, in which nothing is read or written in vain. Operations that have nothing to do
# with one another may share a kernel, if they work by rows: it is one launch less.
#
# <details><summary>Hint 1</summary>Take the kernels by rows as stages, 1, 2, 3 … An operation may be in the stage of what it reads, if that works by
# rows and is not across. Behind a product, or an across result, it is in a later stage than what that was made of.</details>
# <details><summary>Hint 2</summary>So give each operation a number, in the order of the list: the largest that its inputs ask for, at least 1.
# A product has a number as well, that of the last stage it waits for, 0 if it waits for none; whoever reads it has at least one more.</details>
# <details><summary>Hint 3</summary>Then sort: stage 1, the products with number 1, stage 2 … and before all of them the products with number 0. Products of one number in the order of the
# list.</details>


# %% nbgrader={"grade": false, "grade_id": "fuse", "locked": false, "schema_version": 3, "solution": true, "task": false}
def fuse(ops, outputs):
    """Put operations into kernels.

    Args:
        ops: a list of dicts with "name", "kind", "do" and "of"; an operation reads inputs, and
            results of operations before it. There may be some hundreds, each reading the last.
        outputs: names of operations whose results are needed in the end.

    Returns:
        A list of kernels in an order in which they can run; each a dict of lists of names:
        "ops", in an order in which they can run, each operation in exactly one kernel;
        "reads", what they need and don't make; "writes", what other kernels or the outside
        need of them. Reads and writes hold a name once, in any order. All operations are
        computed, also those that nobody needs.
    """
    ### BEGIN SOLUTION
    stages, apart, groups = {}, set(), {}
    for number, op in enumerate(ops):
        product = op["kind"] == "product"
        stage = 0 if product else 1
        for name in op["of"]:
            if name in stages:
                stage = max(stage, stages[name] + (name in apart and not product))
        stages[op["name"]] = stage
        if op["kind"] in ("product", "across"):
            apart.add(op["name"])
        groups.setdefault((stage, number if product else -1), []).append(op)
    needed, made = set(outputs), []
    for _, group in sorted(groups.items(), key=lambda item: item[0]):
        names = [op["name"] for op in group]
        reads = {name for op in group for name in op["of"]} - set(names)
        needed |= reads
        made.append({"ops": names, "reads": sorted(reads)})
    return [kernel | {"writes": [n for n in kernel["ops"] if n in needed]} for kernel in made]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "fuse-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
import copy

import torch

from fridge.fusion import graphs
from fridge.testing import exercise, expect_close, expect_kernels, randn

with exercise("fuse"):

    def can_run(ops, outputs, what):
        """The kernels can run, and compute what the operations compute one by one."""
        got = fuse(copy.deepcopy(ops), list(outputs))
        kernels = expect_kernels(got, ops, outputs, what)
        values = {
            "x": randn(4, 4, seed=1),
            "g": randn(4, 4, seed=2),
            "w": randn(4, 4, seed=3) / 2,
        }
        each = [{"ops": [op["name"]], "reads": op["of"], "writes": [op["name"]]} for op in ops]
        right, mine = graphs.run(each, ops, values), graphs.run(kernels, ops, values)
        for name in outputs:
            expect_close(mine[name], right[name], f"{what}: {name}")
        return kernels

    can_run(
        graphs.listed("a = add, x, g; s = silu, a; y = multiply, s, g"),
        ["y"],
        "a chain of three",
    )
    can_run(
        graphs.listed("a = silu, x; p = product, a, w; y = add, p, g"),
        ["y"],
        "silu, product, add",
    )
    can_run(
        graphs.listed("f = silu, x; p = product, f, w; y = add, x, p"),
        ["y"],
        "the product beside the stream",
    )
    can_run(
        graphs.listed("f = silu, x; p = product, f, w; y = add, f, p"),
        ["y"],
        "f is read by the product and by the addition",
    )
    can_run(
        graphs.listed("a = silu, x; m = largest of all rows, a; y = multiply, a, m"),
        ["y"],
        "a result over all rows, and its reader",
    )
    ### BEGIN HIDDEN TESTS
    # Looks at: diamonds; outputs that are read inside; one operation, and none; products behind products, side by side, and of inputs; across
    #   behind across, and in a product; two cycles; results that nobody needs; names twice; layers of a Llama; hundreds of
    #   operations; random lists.
    # Stated by: "an operation reads inputs, and results of operations before it" | "what other kernels or the outside
    #   need of them" | "Put operations into kernels" | "no: alone" | "it is complete only when the kernel has
    #   ended" | "In one kernel they would wait for a product that waits for them" | "All operations are computed, also those that nobody
    #   needs" | "Reads and writes hold a name once" | "There may be some hundreds" | "in an order in which they can run" | "A kernel runs
    #   from beginning to end: it can't stop in the middle to wait for another one"
    # Right because: a kernel needs what others have written before it began; so whatever lies between two operations and outside their
    #   kernel forbids that kernel.
    import random

    can_run(
        graphs.listed("a = silu, x; b = square, a; c = negate, a; y = add, b, c"),
        ["y"],
        "a diamond",
    )
    can_run(
        graphs.listed("a = silu, x; b = square, a; y = add, a, b"),
        ["a", "y"],
        "an output that is read inside, too",
    )
    can_run(graphs.listed("y = silu, x"), ["y"], "one operation")
    can_run(graphs.listed("y = product, x, w"), ["y"], "one product")
    can_run([], [], "no operations")
    can_run(
        graphs.listed("p = product, x, w; q = product, p, w; y = add, q, x"),
        ["y"],
        "a product behind a product",
    )
    can_run(
        graphs.listed("p = product, x, w; q = product, g, w; y = add, p, q"),
        ["y"],
        "two products of inputs",
    )
    can_run(
        graphs.listed("a = silu, x; p = product, a, w; q = product, a, g; y = add, p, q"),
        ["y"],
        "two products of one result",
    )
    across = "a = silu, x; m = largest of all rows, a; b = multiply, a, m; n = largest of all rows, b; y = add, b, n"
    can_run(graphs.listed(across), ["y"], "two results over all rows, one behind the other")
    can_run(
        graphs.listed(
            "m = largest of all rows, x; p = product, x, w; b = multiply, p, m; y = add, b, g"
        ),
        ["y"],
        "across beside a product",
    )
    can_run(
        graphs.listed(
            "a = silu, x; p = product, a, w; m = largest of all rows, p; y = multiply, p, m"
        ),
        ["y"],
        "across behind a product",
    )
    can_run(
        graphs.listed(
            "a = silu, x; m = largest of all rows, a; b = multiply, x, m; p = product, b, w; y = add, a, p"
        ),
        ["y"],
        "both",
    )
    twins = "f = silu, x; p = product, f, w; y = add, f, p; h = silu, y; q = product, h, w; z = add, y, q"
    can_run(graphs.listed(twins), ["z"], "two cycles, one behind the other")
    crossed = "a = silu, x; b = negate, g; p = product, a, w; q = product, b, w; c = add, b, p; d = add, a, q; y = multiply, c, d"
    can_run(graphs.listed(crossed), ["y"], "two products, each beside the other's stream")
    late = "f = silu, x; p = product, f, w; y = add, p, g; u = negate, x; v = add, u, f"
    can_run(graphs.listed(late), ["y"], "results that nobody needs")
    can_run(graphs.listed("a = multiply, x, x; y = add, a, a"), ["y"], "names twice")
    scores = "a = silu, x; b = square, g; p = product, x, b; q = product, w, p; y = add, q, a"
    can_run(graphs.listed(scores), ["y"], "a product of two results, whichever comes second")
    layers, out = graphs.model_ops(12)
    expect_kernels(fuse(copy.deepcopy(layers), [out]), layers, [out], "12 layers of a Llama")
    ladder = graphs.listed(
        "v0 = silu, x; " + "; ".join(f"v{n + 1} = add, v{n}, v{n}" for n in range(300))
    )
    expect_kernels(
        fuse(copy.deepcopy(ladder), ["v300"]), ladder, ["v300"], "a ladder of 300 additions"
    )

    def drawn(seed, count=14):
        """A random list, and two of its results as outputs."""
        draw = random.Random(seed)
        names, lines = ["x", "g"], []
        for number in range(count):
            does = draw.choice(
                ["add", "add", "silu", "square", "mean", "product", "largest of all rows"]
            )
            one, other = draw.choice(names), draw.choice(names)
            of = {"add": f"{one}, {other}", "product": f"{one}, w"}.get(does, one)
            lines.append(f"v{number} = {does}, {of}")
            names.append(f"v{number}")
        return graphs.listed("; ".join(lines)), draw.sample(names[2:], 2)

    for seed in range(40):
        ops, outputs = drawn(seed)
        got = fuse(copy.deepcopy(ops), list(outputs))
        expect_kernels(got, ops, outputs, f"random list {seed} of 14 operations")
    ### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "fuse-kernels-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
import copy

from fridge.fusion import graphs
from fridge.testing import exercise, expect_kernels, expect_lean, expect_true, fewest_kernels

with exercise("fuse-kernels"):

    def expect_fused(ops, outputs, fewest, what, cause=""):
        """Kernels that can run, no more than needed, and nothing in vain."""
        kernels = expect_kernels(fuse(copy.deepcopy(ops), list(outputs)), ops, outputs, what)
        expect_true(
            len(kernels) <= fewest, f"{what}: kernels", f"{fewest}", len(kernels), cause
        )
        expect_lean(kernels, ops, outputs, what)

    expect_fused(
        graphs.listed("a = add, x, g; s = silu, a; y = multiply, s, g"),
        ["y"],
        1,
        "a chain of three",
    )
    expect_fused(
        graphs.listed("a = silu, x; m = mean, a; y = multiply, a, m"),
        ["y"],
        1,
        "a chain with a mean over each row",
        "a row is at hand as a whole: its mean and what reads it may be in one kernel",
    )
    expect_fused(
        graphs.listed("f = silu, x; p = product, f, w; y = add, x, p; z = square, y"),
        ["z"],
        3,
        "silu, product, add, square",
        "silu; the product; add and square",
    )
    ### BEGIN HIDDEN TESTS
    # Looks at: diamonds; operations that have nothing to do with one another; an across result in the kernel that makes it; products of
    #   inputs; values that several kernels need, and outputs; what reads a product early and what reads it late; cycles; layers of a Llama; random
    #   lists.
    # Stated by: "for as few kernels as can be" | "Operations that have nothing to do with one another may share a kernel, if they work by
    #   rows" | "yes, but **not with an operation that reads it**" | "a library's kernel" | "in which nothing is read or written in
    #   vain" | "A kernel runs from beginning to end" | "In one kernel they would wait for a product that waits for them" | "in an order in which
    #   they can run" | "There may be some hundreds"
    # Right because: a chain of products and across results that wait for one another needs a kernel by rows between each two of them, and
    #   no list needs more than its longest chain does.
    import random

    whole = "all of it works row by row"
    expect_fused(
        graphs.listed("a = silu, x; b = square, a; c = negate, a; y = add, b, c"),
        ["y"],
        1,
        "a diamond",
        whole,
    )
    expect_fused(
        graphs.listed("a = silu, x; b = silu, g"),
        ["a", "b"],
        1,
        "two that have nothing to do with one another",
        "one launch less",
    )
    expect_fused(
        graphs.listed(
            "a = silu, x; m = largest of all rows, a; b = square, a; y = multiply, b, m"
        ),
        ["y"],
        2,
        "a result over all rows",
        "across is made in the kernel of what it reads; only what reads it comes later",
    )
    expect_fused(
        graphs.listed("p = product, x, w; y = add, p, g; z = silu, y"),
        ["z"],
        2,
        "a product of inputs",
    )
    expect_fused(
        graphs.listed("p = product, x, w; a = silu, x; y = add, p, a"),
        ["y"],
        2,
        "a product of inputs, read beside a silu",
        "a product of inputs waits for nobody: it comes first, and all others are one kernel",
    )
    expect_fused(
        graphs.listed("p = product, x, w; q = product, p, w; y = add, q, x"),
        ["y"],
        3,
        "a product behind a product",
    )
    expect_fused(
        graphs.listed("a = silu, x; b = square, a; p = product, a, w; y = add, p, b"),
        ["a", "b", "y"],
        3,
        "values that several need",
    )
    early = "f = silu, x; p = product, f, w; a = add, p, x; b = negate, x; c = add, b, g; d = multiply, a, c"
    expect_fused(
        graphs.listed(early),
        ["d"],
        3,
        "some read the product, some don't",
        "what doesn't wait for the product has room in either kernel",
    )
    twins = "f = silu, x; p = product, f, w; y = add, f, p; h = silu, y; q = product, h, w; z = add, y, q"
    expect_fused(graphs.listed(twins), ["z"], 5, "two cycles, one behind the other")
    crossed = "a = silu, x; b = negate, g; p = product, a, w; q = product, b, w; c = add, b, p; d = add, a, q; y = multiply, c, d"
    expect_fused(
        graphs.listed(crossed), ["y"], 4, "two products, each beside the other's stream"
    )
    across = "a = silu, x; m = largest of all rows, a; p = product, a, w; y = multiply, p, m"
    expect_fused(
        graphs.listed(across),
        ["y"],
        3,
        "across beside a product",
        "both are made of the first kernel's results",
    )
    to_product = "a = silu, x; m = largest of all rows, a; p = product, m, w; y = add, a, p"
    expect_fused(
        graphs.listed(to_product),
        ["y"],
        3,
        "a product that reads an across result",
        "the product begins when the first kernel has ended",
    )
    for count, fewest in ((1, 13), (2, 25), (12, 145)):
        layers, out = graphs.model_ops(count)
        case = f"{count} layers of a Llama" if count > 1 else "a layer of a Llama"
        expect_fused(
            layers,
            [out],
            fewest,
            case,
            "eight products a layer, four kernels between them, and the last addition",
        )

    def drawn(seed, count=14):
        """A random list, and two of its results as outputs."""
        draw = random.Random(seed)
        names, lines = ["x", "g"], []
        for number in range(count):
            does = draw.choice(
                ["add", "add", "silu", "square", "mean", "product", "largest of all rows"]
            )
            one, other = draw.choice(names), draw.choice(names)
            of = {"add": f"{one}, {other}", "product": f"{one}, w"}.get(does, one)
            lines.append(f"v{number} = {does}, {of}")
            names.append(f"v{number}")
        return graphs.listed("; ".join(lines)), draw.sample(names[2:], 2)

    for seed in range(60):
        ops, outputs = drawn(seed)
        expect_fused(ops, outputs, fewest_kernels(ops), f"random list {seed} of 14 operations")
    ### END HIDDEN TESTS

# %% [markdown]
# ### Exercise 8 · Capture and replay (4 points)
#
# Fewer launches are good; one is better. **CUDA graphs** record all launches of a step once, with the addresses that they read and write, and replay them
# with a single call. The price: nothing may change but what lies at those addresses. So
#
# - inputs are copied into **static buffers**, always the same, before each replay, and results copied out after it;
# - sizes are fixed. A batch of 5 takes the graph that was captured for 8, and three rows of **padding**. One captures a few sizes, the *buckets*.
#
# The device (yours belongs to the test, and counts):
#
# ```python
# x = device.buffer(8)          # a buffer of 8 rows and 4 columns; its number
# device.write(x, rows)         # copies [n, 4] into its first n rows; the others stay
# device.read(x)                # its memory, all rows: it changes when the buffer does
# device.begin()                # from here on launches are recorded, and don't run
# graph = device.end()          # a graph
# device.replay(graph)          # runs it on the buffers that were recorded: one launch
# step(x, y)                    # launches three kernels that compute buffer y from buffer x
# ```
#
# Between `begin` and `end` only `step` is called: nothing may be made, copied or read there.
#
# <details><summary>Hint 1</summary>A dict: bucket -> (x, y, graph), filled when a bucket is needed for the first time.</details>
# <details><summary>Hint 2</summary>padded = torch.zeros(bucket, 4); padded[: len(rows)] = rows.</details>
# <details><summary>Hint 3</summary>device.read(y)[: len(rows)].clone(): the next replay overwrites the buffer, and whoever holds its memory
# sees it.</details>


# %% nbgrader={"grade": false, "grade_id": "capture", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Graphs:
    """Runs a step by replaying what was captured for a bucket.

    Args:
        device: as above.
        step: step(x, y) launches the step's kernels on two buffers of as many rows.
        buckets: numbers of rows for which graphs may be captured, in any order.
    """

    def __init__(self, device, step, buckets):
        ### BEGIN SOLUTION
        self.device, self.step, self.buckets = device, step, sorted(buckets)
        self.captured = {}
        ### END SOLUTION

    def run(self, batches):
        """One step for each batch, in their order, and no others: nothing is to be warmed up.

        Args:
            batches: a list of tensors [rows, 4], a row or more in each.

        Returns:
            A list of tensors [rows, 4], each the step's result for its batch, and not changed
            by later ones.

        A batch takes the smallest bucket that it fits into, its other rows zeros. A bucket is
        captured when it is needed for the first time, and never again, with two buffers of its
        own. A batch larger than all buckets runs without a graph, on two new buffers.
        """
        ### BEGIN SOLUTION
        return [self.one(rows) for rows in batches]

    def one(self, rows):
        count = len(rows)
        bucket = next((size for size in self.buckets if size >= count), None)
        if bucket is None:
            x, y = self.device.buffer(count), self.device.buffer(count)
            self.device.write(x, rows)
            self.step(x, y)
            return self.device.read(y).clone()
        if bucket not in self.captured:
            x, y = self.device.buffer(bucket), self.device.buffer(bucket)
            self.device.begin()
            self.step(x, y)
            self.captured[bucket] = x, y, self.device.end()
        x, y, graph = self.captured[bucket]
        padded = torch.zeros(bucket, rows.shape[1])
        padded[:count] = rows
        self.device.write(x, padded)
        self.device.replay(graph)
        return self.device.read(y)[:count].clone()
        ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "capture-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
import torch

from fridge.testing import (
    Device,
    exercise,
    expect_close,
    expect_equal,
    expect_list,
    expect_parts,
    randn,
    stepped,
)

with exercise("capture"):

    def runner(buckets):
        device = Device()
        return device, Graphs(device, lambda x, y: device.step(x, y), list(buckets))

    def run_all(graphs_of, sizes, what, cause="", first=0):
        """Batches of these sizes in one call: each result, compared when all are there."""
        batches = [randn(size, 4, seed=first + number) for number, size in enumerate(sizes)]
        names = ", ".join(f"batch {number}" for number in range(len(sizes)))
        returned = f"{what}: what run returns"
        got = expect_list(graphs_of.run([rows.clone() for rows in batches]), returned)
        got = expect_parts(got, names, returned)
        for number, (mine, rows) in enumerate(zip(got, batches, strict=True)):
            expect_close(
                mine,
                stepped(rows),
                f"{what}: the result of batch {number}, of {len(rows)} rows",
                cause,
                1e-4,
            )

    def counts(device, launches, captures, buffers, what):
        expect_equal(
            device.captures,
            captures,
            f"{what}: captures",
            "a bucket is captured once, when it is needed",
        )
        expect_equal(
            device.launches,
            launches,
            f"{what}: launches",
            "a replay is one launch; a step without a graph is three",
        )
        expect_equal(
            device.buffers,
            buffers,
            f"{what}: buffers",
            "two for each graph, two for each batch without one",
        )

    device, mine = runner([4, 8])
    run_all(mine, [4], "buckets 4 and 8, a batch of 4 rows")
    counts(device, 1, 1, 2, "one batch")
    run_all(
        mine,
        [4],
        "another batch of 4",
        "the graph reads its buffer: write the new rows there before each replay",
        9,
    )
    counts(device, 2, 1, 2, "two batches of 4")
    run_all(
        mine, [3], "a batch of 3", "it takes bucket 4, and the first three rows of the result"
    )
    run_all(mine, [9], "a batch of 9", "larger than all buckets: step itself, on new buffers")
    counts(device, 6, 1, 4, "batches of 4, 4, 3 and 9")
    ### BEGIN HIDDEN TESTS
    # Looks at: several batches in one call; buckets in no order; a batch of just a bucket's size, and one row more; buckets that are never
    #   needed; what padding holds; one row; no batches; no buckets; two runners; large batches twice.
    # Stated by: "each the step's result for its batch, and not changed by later ones" | "in any order" | "the smallest bucket that it fits
    #   into" | "captured when it is needed for the first time, and never again" | "its other rows zeros" | "a row or more
    #   in each" | "One step for each batch, in their order" | "A batch larger than all buckets runs without a graph" | "Runs a step by replaying what was captured for
    #   a bucket" | "on two new buffers"
    # Right because: a graph knows addresses and no values, so that whatever lies in its buffer at a replay is computed; and whoever wants to keep
    #   a result must have taken it away before.
    device, mine = runner([4, 8])
    kept = "the next replay overwrites the buffer: give a copy away"
    run_all(mine, [4, 4, 3, 4], "batches of 4, 4, 3 and 4 in one call", kept)
    counts(device, 4, 1, 2, "batches of 4, 4, 3 and 4")
    device, mine = runner([16, 2, 8])
    run_all(
        mine,
        [2, 3, 8, 9, 16, 1],
        "buckets 16, 2, 8; batches of 2, 3, 8, 9, 16, 1",
        "the smallest that fits",
    )
    sizes = [len(found) for found in device.replayed]
    expect_equal(
        sizes,
        [2, 8, 8, 16, 16, 2],
        "the buckets that were replayed",
        "the smallest that the batch fits into, in whatever order they were given",
    )
    counts(device, 6, 3, 6, "batches of 2, 3, 8, 9, 16 and 1")
    device, mine = runner([8])
    run_all(mine, [8, 3], "batches of 8 and 3, bucket 8")
    behind = "zeros behind the batch's rows, at each replay: what an earlier batch left there isn't cleared by itself"
    expect_close(
        device.replayed[1][3:],
        torch.zeros(5, 4),
        "rows 3 to 7 of the buffer at the second replay",
        behind,
    )
    device, mine = runner([8])
    run_all(mine, [3], "the first batch is small, bucket 8")
    behind = "a new buffer holds NaN: fill all of it"
    expect_close(
        device.replayed[0][3:],
        torch.zeros(5, 4),
        "rows 3 to 7 of the buffer at the first replay",
        behind,
    )
    device, mine = runner([4, 64])
    run_all(mine, [1, 2, 4], "batches of 1, 2 and 4; buckets 4 and 64")
    counts(device, 3, 1, 2, "bucket 64 is never needed")
    device, mine = runner([4])
    run_all(mine, [5, 6, 5], "batches of 5, 6 and 5, bucket 4", kept)
    counts(device, 9, 0, 6, "three batches larger than all buckets")
    expect_equal(mine.run([]), [], "no batches: what run returns")
    device, mine = runner([])
    run_all(mine, [2], "no buckets")
    counts(device, 3, 0, 2, "no buckets")
    (one, a), (other, b) = runner([4]), runner([4])
    run_all(a, [4], "two runners, the first one")
    run_all(b, [3], "two runners, the second one", "each has graphs of its own device")
    counts(other, 1, 1, 2, "the second runner")
    ### END HIDDEN TESTS

# %% [markdown]
# ### Exercise 9 · Tactics (3 points)
#
# How many rows make a tile? It depends: on the card, on the shape, on the weather. Engines don't think about it, they **try**: each
# candidate (TensorRT calls them *tactics*) runs for the shape at hand, the fastest wins, and the winner is kept.
#
# Four rules, each of them for a mistake that was made somewhere:
#
# - The first run of a tile isn't timed: it compiles.
# - Then `repeats` runs are timed, each by itself. Noise only ever *adds* time, so the **least** of them counts.
# - What doesn't fit this shape raises a `ValueError`, is left out, and isn't run again for it. If nothing fits, that is a `ValueError` as well, and nothing is
# remembered: whoever asks again tries again.
# - Shapes that differ in the number of tokens are countless. So tokens are **rounded up to a power of two**; for that shape the tiles are tried, once, and
#   all shapes that round to it get the answer without a run.
#
# The card has a clock, `card.clock()`, and runs a kernel with `card.run(tile, shape)`.
#
# <details><summary>Hint 1</summary>1 &lt;&lt; (tokens - 1).bit_length() is the power of two; for 1 it is 1.</details>
# <details><summary>Hint 2</summary>min(times, key=times.get) gives the first of several that are equally fast.</details>


# %% nbgrader={"grade": false, "grade_id": "tactics", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Tuner:
    """Finds the fastest tile for a shape by trying, and remembers it.

    Args:
        card: card.run(tile, shape) runs the kernel; card.clock() gives the time in seconds.
        tiles: a list of different numbers, in the order in which they are tried.
        repeats: timed runs of each, 1 or more.
    """

    def __init__(self, card, tiles, repeats=3):
        ### BEGIN SOLUTION
        self.card, self.tiles, self.repeats = card, tiles, repeats
        self.known = {}
        ### END SOLUTION

    def best(self, shape):
        """The tile that is fastest for a shape.

        Args:
            shape: a tuple (tokens, columns, rows) of whole numbers, 1 or more.

        Returns:
            One of the tiles; of several that are equally fast the first.

        Raises:
            ValueError: none of the tiles fits.
        """
        ### BEGIN SOLUTION
        tokens, *others = shape
        key = (1 << (tokens - 1).bit_length(), *others)
        if key not in self.known:
            times = {}
            for tile in self.tiles:
                try:
                    times[tile] = self.seconds(tile, key)
                except ValueError:
                    continue
            if not times:
                raise ValueError(f"no tile fits for {key}")
            self.known[key] = min(times, key=times.get)
        return self.known[key]

    def seconds(self, tile, shape):
        self.card.run(tile, shape)
        times = []
        for _ in range(self.repeats):
            began = self.card.clock()
            self.card.run(tile, shape)
            times.append(self.card.clock() - began)
        return min(times)
        ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "tactics-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
from fridge.testing import Card, exercise, expect_equal, expect_raises

with exercise("tactics"):

    def card_with(times, shape, seed=None, calm=1):
        """A card on which these tiles take these seconds for one shape."""
        return Card({(tile, shape): seconds for tile, seconds in times.items()}, seed, calm)

    def card_around(tokens, power):
        """32 is the best for a power of two, and 16 for all other numbers of tokens."""
        others = {tokens, power // 2, 2 * power} - {power, 0}
        best = dict.fromkeys(others, 16) | {power: 32}
        return Card(
            {
                (tile, (count, 7, 5)): 0.1 if tile == best[count] else 0.3
                for tile in (16, 32)
                for count in best
            }
        )

    def runs_of(card, tiles, shape, repeats, what, cause=""):
        expected = [(tile, shape) for tile in tiles for _ in range(repeats + 1)]
        expect_equal(
            sorted(card.runs), sorted(expected), f"{what}: runs, as (tile, shape)", cause
        )

    shape = (4, 576, 1536)
    card = card_with({16: 0.3, 32: 0.1, 64: 0.2}, shape)
    tuner = Tuner(card, [16, 32, 64], 3)
    expect_equal(tuner.best(shape), 32, "the best of tiles that take 0.3, 0.1 and 0.2 s")
    runs_of(
        card,
        [16, 32, 64],
        shape,
        3,
        "three tiles",
        "each runs once without being timed, and then 3 times",
    )
    expect_equal(tuner.best(shape), 32, "the best, asked again")
    runs_of(
        card,
        [16, 32, 64],
        shape,
        3,
        "asked again",
        "the answer is remembered: nothing runs again",
    )
    card = card_around(5, 8)
    rounded = "5 tokens are rounded up to 8: the tiles are tried for that shape"
    expect_equal(Tuner(card, [16, 32], 1).best((5, 7, 5)), 32, "the best for 5 tokens", rounded)
    runs_of(card, [16, 32], (8, 7, 5), 1, "5 tokens", rounded)
    ### BEGIN HIDDEN TESTS
    # Looks at: noise in all runs but one, whichever; what compiling takes; one timed run; tiles that don't fit, first, in the middle and
    #   all; asked again when none has fitted; equal times; powers of two, and one more; other columns and rows; many shapes; two tuners;
    #   repeats that isn't given.
    # Stated by: "Noise only ever *adds* time, so the **least** of them counts" | "The first run of a tile isn't timed: it compiles" | "timed runs of
    #   each, 1 or more" | "`repeats` runs are timed, each by itself" | "What doesn't fit this shape raises a `ValueError`, is left out, and isn't run again for it" | "If nothing fits, that is a `ValueError` as
    #   well, and nothing is remembered" | "of several that are equally fast the first" | "rounded up to a power of two" | "for that shape the
    #   tiles are tried, once" | "all shapes that round to it get the answer without a run" | "Finds the fastest tile for a shape by
    #   trying, and remembers it"
    # Right because: nothing can make a run shorter than the kernel is, so that the least time is nearest to it; and a shape's answer holds for
    #   as long as the card is the same.
    first = "the first run compiles, which takes longer for large tiles: it isn't timed"
    card = card_with({16: 0.1005, 512: 0.1}, shape)
    expect_equal(
        Tuner(card, [16, 512], 1).best(shape),
        512,
        "the best of 0.1005 and 0.1 s, one timed run",
        first,
    )
    runs_of(card, [16, 512], shape, 1, "one timed run", first)
    least = "the least of the timed runs counts: noise only adds"
    for seed in range(12):
        calm = 1 + seed % 3
        card = card_with({16: 0.21, 32: 0.2, 64: 0.19, 128: 0.22}, shape, seed, calm)
        case = f"the best with noise in all timed runs but number {calm}"
        expect_equal(Tuner(card, [16, 32, 64, 128], 3).best(shape), 64, case, least)
    left_out = "a tile that raises ValueError is left out; the others are tried"
    for missing in (16, 32, 64):
        times = {16: 0.3, 32: 0.1, 64: 0.2}
        del times[missing]
        card = card_with(times, shape)
        right = min(times, key=times.get)
        expect_equal(
            Tuner(card, [16, 32, 64], 2).best(shape),
            right,
            f"the best where {missing} doesn't fit",
            left_out,
        )
        tried = [tile for tile, _ in card.runs].count(missing)
        expect_equal(
            tried, 1, f"runs of {missing}, which doesn't fit", "once is enough to know"
        )
    card = card_with({}, shape)
    tuner = Tuner(card, [16, 32], 2)
    expect_raises(ValueError, lambda: tuner.best(shape), "no tile fits")
    card.times[32, shape] = 0.5
    expect_equal(
        tuner.best(shape),
        32,
        "asked again, when 32 has come to fit",
        "that nothing fitted isn't remembered",
    )
    card = card_with({64: 0.25, 16: 0.25, 32: 0.25}, shape)
    expect_equal(
        Tuner(card, [64, 16, 32], 2).best(shape),
        64,
        "three equally fast tiles",
        "the first of the list",
    )
    card = card_with({16: 0.3, 32: 0.1}, shape)
    Tuner(card, [16, 32]).best(shape)
    runs_of(card, [16, 32], shape, 3, "repeats not given", "repeats=3")
    for tokens, power in (
        (1, 1),
        (2, 2),
        (3, 4),
        (4, 4),
        (8, 8),
        (9, 16),
        (1000, 1024),
        (1025, 2048),
    ):
        key = (power, 7, 5)
        card = card_around(tokens, power)
        rounded = f"{tokens} tokens are rounded up to {power}"
        tuner = Tuner(card, [16, 32], 1)
        expect_equal(tuner.best((tokens, 7, 5)), 32, f"the best for {tokens} tokens", rounded)
        expect_equal(
            tuner.best(key), 32, f"the best for {power} tokens, asked behind {tokens}", rounded
        )
        runs_of(card, [16, 32], key, 1, f"{tokens} tokens, and {power}", "both are one shape")
    shapes = {(4, 7, 5): 16, (4, 5, 7): 32, (4, 7, 6): 32, (8, 7, 5): 32, (2, 7, 5): 16}
    card = Card(
        {
            (tile, one): 0.1 if tile == best else 0.2
            for one, best in shapes.items()
            for tile in (16, 32)
        }
    )
    tuner = Tuner(card, [16, 32], 2)
    for turn in ("first", "second"):
        for one, best in shapes.items():
            expect_equal(
                tuner.best(one),
                best,
                f"the best for {one}, asked for the {turn} time",
                "each shape has its own",
            )
    expect_equal(len(card.runs), 5 * 2 * 3, "runs for five shapes, each asked twice")
    many = [(2**power, 7, rows) for power in range(10) for rows in (3, 5)]
    card = Card({(16, one): 0.1 for one in many})
    tuner = Tuner(card, [16], 1)
    for one in many * 2:
        expect_equal(tuner.best(one), 16, f"the best for {one}, one of 20 shapes")
    expect_equal(
        len(card.runs), 40, "runs for 20 shapes, each asked twice", "none is forgotten"
    )
    one, other = card_with({16: 0.1, 32: 0.2}, shape), card_with({16: 0.2, 32: 0.1}, shape)
    both = [Tuner(card, [16, 32], 1) for card in (one, other)]
    expect_equal(both[0].best(shape), 16, "the first of two tuners")
    expect_equal(
        both[1].best(shape), 32, "the second of two tuners", "each card has its own answers"
    )
    ### END HIDDEN TESTS

# %% [markdown]
# ## 5 · For real
#
# ### Your compiler, on the whole model
#
# The 30 layers of SmolLM2 as one list of 720 operations. Your `fuse` puts them into kernels, your `traffic` counts what they move, and an interpreter runs
# them one after the other: each kernel sees what it reads and what it makes, and nothing else. Do the logits stay?

# %% tags=["for-real"]
if scoreboard.ready("traffic", "fuse"):
    whole, last = graphs.model_ops(model.config.layers)
    fused = fuse(whole, [last])
    apart = [{"ops": [op["name"]], "reads": op["of"], "writes": [op["name"]]} for op in whole]
    values, functions = graphs.layer_inputs(model, prompt[0])
    for words, parts in (("one by one", apart), ("fused", fused)):
        moved = traffic(
            whole,
            [kernel["ops"] for kernel in parts],
            graphs.bytes_of(model.config, whole, 1),
            [last],
        )
        print(f"{words:10} {len(parts)} kernels, {sum(moved) / 1e6:.1f} MB for one token")
    hidden = graphs.run(fused, whole, values, functions)[last]
    logits = model.lm_head(model.model.norm(hidden))
    apart_by = float((logits - model(prompt)[0]).abs().max())
    print(f"largest difference of the logits from the model's own: {apart_by:.1e}\n")
    print(graphs.as_text(max(fused[:14], key=lambda kernel: len(kernel["ops"])), whole))

# %% [markdown]
# The kernel that is printed is exercise 2, found by your compiler: the residual's addition and the whole norm. Inductor, the compiler behind `torch.compile`, finds the same
# one, and then writes C++ or Triton for it.
#
# ### Your merged layer, in the model
#
# Four products a layer in place of seven, and norms without weights: the same tokens with fewer calls. How much faster?

# %% tags=["for-real"]
if scoreboard.ready("merge", "merged-layer"):
    merged_model = MergedLlama(model, merge, merged_layer)
    ours, theirs = merged_model(prompt), model(prompt)
    print(f"largest difference of the logits: {float((ours - theirs).abs().max()):.1e}")
    rows = []
    for words, some_model in (("seven products", model), ("four products", merged_model)):
        calls = counting.calls(a_token(some_model))
        spent = measure.seconds(a_token(some_model), repeats=15)
        rows.append(
            (words, str(calls.total()), str(counting.products(calls)), f"{1e3 * spent:.1f}")
        )
    tables.show(("", "calls for a token", "of them products", "ms"), rows, numbers=[1, 2, 3])

# %% [markdown]
# Fewer calls. The time? The first cell said what to expect: the calls cost some
# milliseconds, and half a gigabyte of weights comes from memory for each token, whatever you fuse. On a GPU these weights come in a fraction of a millisecond
# (half a gigabyte at an H100's 3.35 TB/s, unit 01's cards), and a launch still takes microseconds: there the count of calls is most of a small model's token. That is where CUDA
# graphs pay.
#
# ### Four bits, fused and not
#
# Exercise 6 on this machine, with the kernel that PyTorch has for it (weights in 4 bits, groups of 32, activations in bfloat16), for one matrix of a layer: gate and up.


# %% tags=["for-real"]
def three_ways(batch, rows=3072, columns=576, group=32):
    """Milliseconds of a product in float32, dequantized before it, and dequantized inside."""
    numbers = torch.Generator().manual_seed(0)
    x = torch.randn(batch, columns, generator=numbers)
    weight = torch.randn(rows, columns, generator=numbers)
    codes = torch.randint(0, 16, (rows, columns), generator=numbers, dtype=torch.int32)
    scale = torch.rand(rows, columns // group, 1, generator=numbers)
    packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(codes, 1)
    pairs = torch.stack((scale[..., 0].T, 0 * scale[..., 0].T), dim=-1).bfloat16().contiguous()
    small, half, groups = codes.to(torch.uint8), x.bfloat16(), (rows, -1, group)

    def before():
        whole = ((small.view(groups).float() - 8) * scale).view(rows, columns)
        return x @ whole.T

    def inside():
        return torch.ops.aten._weight_int4pack_mm_for_cpu(half, packed, group, pairs)

    apart = float((before() - inside().float()).abs().max() / before().abs().max())
    ways = (lambda: x @ weight.T, before, inside)
    return [1e3 * measure.seconds(way, repeats=20) for way in ways], apart


rows = []
for batch in (1, 8, 32):
    spent, apart = three_ways(batch)
    rows.append((str(batch), *(f"{one:.2f} ms" for one in spent), f"{apart:.1%}"))
tables.show(
    ("batch", "float32", "4 bits, dequantized before", "dequantized inside", "they differ by"),
    rows,
    numbers=range(5),
)

# %% [markdown]
# Dequantizing before the product is slower than not to quantize at all: unit 02's negative result. Inside the product it is another story, where the kernel is good, at batch 1. (The difference is bfloat16's:
# its activations have 8 bits of precision.) How fast it is depends on the processor: with AMX or AVX-512 there are fast paths which others haven't.
#
# ### Your kernel, on a card that isn't here
#
# As in unit 06, Triton compiles your SwiGLU for GPUs that aren't here, in half precision with blocks of 1024. And the bytes say what to expect there: an MLP of Llama 3 8B has 14 336 columns, and 4096 tokens
# go through it.

# %% tags=["for-real"]
kinds = {"gate_up": "*fp16", "y": "*fp16", "inner": "i32"}
if not kernels.INSTALLED:
    print(kernels.ADVICE)
elif scoreboard.ready("swiglu-triton"):
    made = compiling.for_cards(swiglu_kernel, kinds, {"BLOCK": 1024}, ("A100-80", "H100-80"))
    numbers = 4096 * 14_336
    rows = [
        (
            card,
            *compiling.in_words(card, found)[1:],
            f"{1e6 * 5 * 2 * numbers / CARDS[card].bandwidth:.0f} µs",
            f"{1e6 * 3 * 2 * numbers / CARDS[card].bandwidth:.0f} µs",
        )
        for card, found in made.items()
    ]
    tables.show(("", *compiling.COLUMNS[1:], "two kernels, by bytes", "one, by bytes"), rows)

# %% [markdown]
# A handful of registers, no shared memory, nothing spilled: a pointwise kernel has nothing to hold but its own few numbers. That is why compilers are good at these, and why one rarely
# writes them by hand any more. Products and attention are another matter.
#
# ### The engines that people use
#
# SmolLM2 for one user, on one thread of one machine: PyTorch eager, with your kind of merged layers, and with `torch.compile` (which writes and compiles C++ for everything between the
# products); the course's engine; OpenVINO, a fused engine that is to Intel's processors what TensorRT-LLM is to NVIDIA's cards; and llama.cpp. These two read 4-bit weights
# inside the product. The last row is llama.cpp once more, compiled to WebAssembly and run in a browser's tab, as unit 11 does it. Counted are tokens for each second that the *processor* was at work, which hardly changes with what else a machine does. The instructor's folder has the program; its
# figures, with machine and versions, are kept with the library. The first three run on **static buffers**, as a captured graph must: a cache of 256 places that is written in place and masked. So their
# calls aren't those of your first cell, whose cache grows by a token at each step.

# %% tags=["for-real"]
record = peers.kept()
if record is None:
    print("No measurement of other engines has come with the course so far.")
else:
    rows = [
        (row["name"], str(row["bits"]), f"{row['per_processor_second']:.1f}", row["note"])
        for row in record["rows"]
    ]
    tables.show(("", "bits of a weight", "tokens a processor second", ""), rows, numbers=[1, 2])
    if absent := peers.missing(record):
        print("Not measured so far:", "; ".join(absent))
    pictures.fused_engines(record["rows"], peers.where(record))

# %% [markdown]
# *In words: a bar for each way, tokens per processor second of one user. Those with float32 weights are plain, those with fewer bits hatched.*
#
# What did `torch.compile` write? One of its kernels, as it was generated on that machine: a residual's addition and a norm, your exercise 2, in C++.

# %% tags=["for-real"]
if record and "inductor" in record:
    code = record["inductor"]["code"].strip().splitlines()
    print(record["inductor"]["name"], *code[:48], *(["…"] if len(code) > 48 else []), sep="\n")

# %% [markdown]
# Read both with exercise 1 in mind. `torch.compile` fuses what can be fused, and the bytes of the weights are the same as before: it can gain what the calls cost, and no more. An engine that reads
# a quarter of the bytes, inside the product, can gain what the bytes cost. Fusion alone isn't the ceiling of speed; for one user the ceiling is made of bytes.
#
# And of how they lie. The course's engine reads float32, as PyTorch does by default, and fuses nothing but your merged products. It lays each weight out once, before the first token, in the order in
# which the processor's library (oneDNN) wants to read it: **packing**. Hold its row against that of the merged layers, and you see about what that is worth on the machine that is named under the figure.
#
# ## 6 · What others report, what we measured
#
# | claim | source | here |
# |---|---|---|
# | fusing saves the trips to memory, and most operations of a model wait for these | Dao et al. 2022, section 2 (GPUs) | your count: three tenths of all that isn't weights, and nothing of the weights |
# | a compiler for PyTorch: inference 2.27 times as fast, the mean of more than 180 models, on an A100 | Ansel et al. 2024, abstract | the table above, one small model on a processor |
# | with CUDA graphs one launch stands for a whole step | NVIDIA, CUDA C++ Programming Guide, CUDA Graphs | exercise 8: counted, no GPU |
# | an autotuner's winner depends on the shape | Tillet et al. 2019 (Triton) | exercise 9, on a clock of the test's |
# | norm, position and activation take little, once they are fused; the products are the rest | your own first and second cell | the same |
#
# Why so little here? Because the papers' GPUs compute a hundred times faster than they read, with a launch as slow as a call is here. The order of costs is another one: launches first, then bytes, then arithmetic.
#
# ## 7 · What this unit doesn't claim
#
# - **That fusing makes a model faster.** It makes fewer calls, and fewer bytes besides the weights. Whether you wait for these, measure first.
# - That your fuser is a compiler. It minimises kernels, and kernels aren't time: a real one looks at bytes, registers and shapes, and may rather compute something
#   twice than store it. (So does FlashAttention, backwards.)
# - That products stay alone. GPU libraries let a pointwise tail run in the product's own kernel (an *epilogue*), which saves another trip.
# - Anything measured on a GPU: none was at hand. What is said of cards is compiled and counted.
#
# Three things to read next:
#
# 1. Ansel et al., *PyTorch 2: Faster Machine Learning Through Dynamic Python Bytecode Transformation and Graph Compilation*, 2024 (ASPLOS): sections 4 and 5
#    are what stands behind `torch.compile`.
# 2. Tillet, Kung, Cox, *Triton: An Intermediate Language and Compiler for Tiled Neural Network Computations*, 2019 (MAPL).
# 3. Williams, Waterman, Patterson, *Roofline: An Insightful Visual Performance Model*, 2009 (CACM): why bytes decide.
#
# ## What stays
#
# A kernel is a trip to memory and a call. Fusing saves trips that nobody needed and calls that did little. It can't save the weights: these only get smaller when they have fewer
# bits, and when they are made floats inside the product.

# %% tags=["for-real"]
from fridge.notebook import recall

recall.ask("10-kernel-fusion")

# %% [markdown]
# ## Your score

# %% tags=["for-real"]
scoreboard.show("10-kernel-fusion")
